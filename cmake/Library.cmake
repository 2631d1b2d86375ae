# Layers in dependency order: each may use only the ones before it. Tests of a layer link only that layer and those before
# it, so an upward dependency fails to link; tests/layers_test checks the includes.
set(RWKVLAB_LAYERS base config tensor kernels autograd nn blocks models data train record run evaluate sweep verify)
if(benchmark_FOUND)
  list(APPEND RWKVLAB_LAYERS bench)
endif()
list(APPEND RWKVLAB_LAYERS analysis)

# The layers above compute and parse; those below put them together.
set(RWKVLAB_LAST_LAYER "" CACHE STRING "Build and test the layers up to this one only, without the program (a shorter sanitized build)")
if(RWKVLAB_LAST_LAYER)
  list(FIND RWKVLAB_LAYERS "${RWKVLAB_LAST_LAYER}" last)
  if(last EQUAL -1)
    message(FATAL_ERROR "RWKVLAB_LAST_LAYER is '${RWKVLAB_LAST_LAYER}'; expected one of: ${RWKVLAB_LAYERS}")
  endif()
  math(EXPR count "${last} + 1")
  list(SUBLIST RWKVLAB_LAYERS 0 ${count} RWKVLAB_LAYERS)
endif()

set(RWKVLAB_LIBRARIES fmt::fmt nlohmann_json::nlohmann_json yaml-cpp DNNL::dnnl Eigen3::Eigen hdf5_c OpenMP::OpenMP_CXX ZLIB::ZLIB
  PNG::PNG JPEG::JPEG ${UTF8PROC_LIBRARY})
if(benchmark_FOUND)
  list(APPEND RWKVLAB_LIBRARIES benchmark::benchmark)
endif()

# hdf5_c: Debian's HDF5 through FindHDF5, as one imported target.
add_library(hdf5_c INTERFACE)
target_include_directories(hdf5_c SYSTEM INTERFACE ${HDF5_C_INCLUDE_DIRS})
target_link_libraries(hdf5_c INTERFACE ${HDF5_C_LIBRARIES} ${HDF5_C_HL_LIBRARIES})

# Where no number is computed, optimising takes longer than it ever saves.
if(RWKVLAB_SANITIZE)
  set(RWKVLAB_MANAGING_OPTIONS -O0)
else()
  set(RWKVLAB_MANAGING_OPTIONS $<$<CONFIG:Release>:-O1>)
endif()

# A shared library keeps every object: a block that only registers itself is never dropped by the linker.
add_library(rwkvlab SHARED)
set_target_properties(rwkvlab PROPERTIES LINKER_LANGUAGE CXX)
add_library(rwkvlab::rwkvlab ALIAS rwkvlab)
foreach(layer IN LISTS RWKVLAB_LAYERS)
  if(layer STREQUAL "analysis")
    set(folder ${PROJECT_SOURCE_DIR}/analysis)
  else()
    set(folder ${PROJECT_SOURCE_DIR}/lib/${layer})
  endif()
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${folder}/*.cpp)
  if(NOT sources)
    continue()
  endif()
  add_library(rwkvlab_${layer} OBJECT ${sources})
  set_target_properties(rwkvlab_${layer} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_include_directories(rwkvlab_${layer} PUBLIC ${PROJECT_SOURCE_DIR}/lib ${PROJECT_SOURCE_DIR})
  target_link_libraries(rwkvlab_${layer} PRIVATE rwkvlab_options PUBLIC ${RWKVLAB_LIBRARIES})
  target_sources(rwkvlab PRIVATE $<TARGET_OBJECTS:rwkvlab_${layer}>)
  if(layer MATCHES "^(config|record|run|sweep|verify|bench|analysis)$")
    target_compile_options(rwkvlab_${layer} PRIVATE ${RWKVLAB_MANAGING_OPTIONS})
  endif()
endforeach()
target_link_libraries(rwkvlab PUBLIC nlohmann_json::nlohmann_json fmt::fmt
  PRIVATE ${RWKVLAB_LIBRARIES} $<BUILD_INTERFACE:rwkvlab_options>)

file(GLOB cli_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/lib/cli/*.cpp)
if(NOT benchmark_FOUND)
  list(FILTER cli_sources EXCLUDE REGEX "/cli/bench_")
endif()
if(cli_sources AND NOT RWKVLAB_LAST_LAYER)
  add_executable(rwkvlab_program ${cli_sources})
  set_target_properties(rwkvlab_program PROPERTIES OUTPUT_NAME rwkvlab)
  target_compile_options(rwkvlab_program PRIVATE ${RWKVLAB_MANAGING_OPTIONS})
  target_link_libraries(rwkvlab_program PRIVATE rwkvlab rwkvlab_options CLI11::CLI11)
  target_compile_definitions(rwkvlab_program PRIVATE $<$<BOOL:${benchmark_FOUND}>:RWKVLAB_HAS_BENCH>)
endif()
