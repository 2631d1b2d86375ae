// Weights that a training starts from in place of initial values (`train.start_from`).
#pragma once

#include <string>

#include "data/data_set.h"
#include "run/experiment.h"

namespace rwkvlab {

/// Checks that the file which `train.start_from` names fits a model that need not have memory; does nothing when it
/// names none. An initial state that the model learns and the file lacks stays as it is. Throws DataError naming the
/// tensors that do not fit and how to get a model section that does; and for weights that were trained with another
/// tokenizer than that of `data`, unless `train.start_with_other_tokenizer`. Official files do not say
/// which; of the sizes of the World and GPT-NeoX vocabularies they are taken to have had those.
void check_initial_weights(const LoadedExperiment& loaded, const Module& model, const DataSet& data);

/// Reads these weights into an allocated model; does nothing when the experiment names none. Returns what a person
/// should be told of it: which weights of a masked autoencoder started a model of another kind, else nothing. Throws
/// DataError as above, and for weights that are not finite.
std::string load_initial_weights(const LoadedExperiment& loaded, Module& model);

}  // namespace rwkvlab
