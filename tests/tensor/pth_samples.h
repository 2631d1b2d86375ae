// Python scripts that write and read .pth files with Python's own zip and pickle, standing in for PyTorch.
#pragma once

namespace rwkvlab::samples {

/// Defines what torch.save needs: save(path, value, protocol, …) with T(type, values, sizes, strides, offset) for
/// tensors. Storages are shared by giving a Storage.
inline const char* const fake_torch = R"PY(
import collections, io, pickle, struct, sys, types, zipfile
torch = types.ModuleType("torch"); utils = types.ModuleType("torch._utils")
sys.modules["torch"] = torch; sys.modules["torch._utils"] = utils
CODES = {"FloatStorage": "f", "DoubleStorage": "d", "HalfStorage": "e", "BFloat16Storage": "H", "LongStorage": "q",
         "IntStorage": "i", "ByteStorage": "B", "BoolStorage": "?"}
for name in CODES:
    setattr(torch, name, type(name, (), {"__module__": "torch"}))
def named(module, name):
    def function(*arguments):
        return (name,) + arguments
    function.__module__, function.__qualname__, function.__name__ = module, name, name
    return function
for name in ["_rebuild_tensor_v2", "_rebuild_parameter"]:
    setattr(utils, name, named("torch._utils", name))
class Storage:
    def __init__(self, type, values):
        self.type, self.values = type, values
class T:
    def __init__(self, storage, sizes, strides, offset=0, parameter=False):
        self.args = (storage, offset, tuple(sizes), tuple(strides), False, collections.OrderedDict())
        self.parameter = parameter
    def __reduce__(self):
        return (utils._rebuild_tensor_v2, self.args)
class Parameter:
    def __init__(self, tensor):
        self.tensor = tensor
    def __reduce__(self):
        return (utils._rebuild_parameter, (self.tensor, True, collections.OrderedDict()))
def save(path, value, protocol=2, byteorder="little", compression=zipfile.ZIP_STORED, change=lambda b: b):
    storages = []
    class Pickler(pickle.Pickler):
        def persistent_id(self, thing):
            if not isinstance(thing, Storage):
                return None
            if thing not in storages:
                storages.append(thing)
            return ("storage", getattr(torch, thing.type), str(storages.index(thing)), "cpu", len(thing.values))
    out = io.BytesIO()
    Pickler(out, protocol).dump(value)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("model/data.pkl", change(out.getvalue()))
        archive.writestr("model/byteorder", byteorder)
        for i, storage in enumerate(storages):
            archive.writestr(f"model/data/{i}", struct.pack(f"<{len(storage.values)}{CODES[storage.type]}", *storage.values))
        archive.writestr("model/version", "3\n")
)PY";

/// Reads "file.pth" with Python, as weights_only loading does: known names alone. Prints each tensor.
inline const char* const read_pth = R"PY(
import pickle, struct, zipfile
archive = zipfile.ZipFile("file.pth")
assert archive.testzip() is None
assert archive.read("archive/version") == b"3\n" and archive.read("archive/byteorder") == b"little"
with open("file.pth", "rb") as raw:
    for info in archive.infolist():
        raw.seek(info.header_offset + 26)
        name, extra = struct.unpack("<HH", raw.read(4))
        assert (info.header_offset + 30 + name + extra) % 64 == 0, info.filename
CODES = {"FloatStorage": "f", "DoubleStorage": "d", "HalfStorage": "e", "BFloat16Storage": "H", "LongStorage": "q"}
class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if module == "torch" and name in CODES: return name
        if (module, name) == ("collections", "OrderedDict"): return dict
        assert (module, name) == ("torch._utils", "_rebuild_tensor_v2"), (module, name)
        return lambda storage, offset, sizes, strides, grad, hooks: (storage, offset, sizes, strides)
    def persistent_load(self, id):
        kind, type, key, place, count = id
        assert kind == "storage" and place == "cpu"
        return type, struct.unpack(f"<{count}{CODES[type]}", archive.read("archive/data/" + key))
for name, (storage, offset, sizes, strides) in Unpickler(archive.open("archive/data.pkl")).load().items():
    print(name, *storage, offset, sizes, strides)
)PY";

}  // namespace rwkvlab::samples
