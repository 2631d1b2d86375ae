#include "train/image_objectives.h"

#include <fmt/format.h>

#include "autograd/profiler.h"
#include "base/error.h"
#include "base/random.h"
#include "data/image_data_set.h"
#include "models/image_classifier.h"
#include "models/image_segmenter.h"
#include "models/masked_autoencoder.h"
#include "train/image_sums.h"

namespace rwkvlab {
namespace {

// What objectives of images have in common: `Model` reads the images of a data set. No state is carried.
template <class Model>
class ImageObjective : public Objective {
 public:
  ImageObjective(const ObjectiveSite& site, Model& model) : model_(model), data_(image_data(*site.data)), site_(site) {}

  Module& model() final { return model_; }
  const State& carried_state() const final { return none_; }
  void set_carried_state(State) final {}
  bool can_evaluate() const final { return data_.held_out_batches(site_.batch, 1) > 0; }

  StepResult forward(std::int64_t index, const ForwardContext& given) final {
    ForwardContext context = given;
    context.state_out = nullptr;
    return {training_loss(training_images(index), context)};
  }

  Evaluation evaluate(const EvaluationRequest& request) final {
    const std::int64_t rows = request.batch > 0 ? request.batch : site_.batch;
    const std::int64_t batches = data_.held_out_batches(rows, request.batches);
    if (batches == 0) {
      throw ConfigError("there are no held-out images to evaluate on; set a held-out part in the section 'data'");
    }
    ImageSums sums(classes(), unit());
    for (std::int64_t i = 0; i < batches; ++i) add_evaluated(data_.held_out_images(i, rows), i, sums);
    return result_of(sums);
  }

 protected:
  virtual Var training_loss(const ImageBatch& batch, const ForwardContext& context) const = 0;
  virtual std::int64_t classes() const = 0;
  virtual void add_evaluated(const ImageBatch& batch, std::int64_t index, ImageSums& sums) const = 0;
  virtual Evaluation result_of(const ImageSums& sums) const { return sums.result(false); }

  Model& model_;
  const ImageDataSet& data_;

 private:
  ImageBatch training_images(std::int64_t index) const {
    const ProfileSpan span(Phase::data, "batch");
    return data_.training_images(index, site_.batch);
  }
  ObjectiveSite site_;
  State none_;
};

// Of images or of pixels: cross-entropy with the labels.
class Labelling final : public ImageObjective<ImageLabeller> {
 public:
  Labelling(const ObjectiveSite& site, ImageLabeller& model, double smoothing, const char* counted, bool areas)
      : ImageObjective(site, model), smoothing_(smoothing), counted_(counted), areas_(areas) {}
  LossMeasure unit() const override { return {"nats", counted_, "images"}; }

 protected:
  Var training_loss(const ImageBatch& batch, const ForwardContext& context) const override {
    const Var logits = model_.logits(Var(batch.images), context);
    return soft_cross_entropy(logits, targets(batch, logits.dtype(), smoothing_)).loss;
  }
  std::int64_t classes() const override { return model_.image().classes; }
  void add_evaluated(const ImageBatch& batch, std::int64_t /*index*/, ImageSums& sums) const override {
    const Var logits = model_.logits(Var(batch.images), {});
    sums.add(soft_cross_entropy(logits, targets(batch, logits.dtype(), 0)), logits.value(), batch.labels,
             batch.evaluation_set);
  }
  Evaluation result_of(const ImageSums& sums) const override { return sums.result(areas_); }

 private:
  Tensor targets(const ImageBatch& batch, DType type, double smoothing) const {
    return smoothed_targets(batch.labels, batch.soft_labels, classes(), smoothing, type);
  }
  double smoothing_;
  const char* counted_;
  bool areas_;
};

class MaskedAutoencoding final : public ImageObjective<MaskedAutoencoder> {
 public:
  using ImageObjective::ImageObjective;
  LossMeasure unit() const override { return {"squared error", "patch", "images"}; }

 protected:
  Var training_loss(const ImageBatch& batch, const ForwardContext& context) const override {
    const RandomStream random(context.seed, "masked_autoencoding.training");
    return predict(batch, random, context.step, context).error.loss;
  }
  std::int64_t classes() const override { return 0; }
  void add_evaluated(const ImageBatch& batch, std::int64_t index, ImageSums& sums) const override {
    const RandomStream random(0, "masked_autoencoding.evaluation");
    sums.add(predict(batch, random, static_cast<std::uint64_t>(index), {}).error, batch.evaluation_set);
  }

 private:
  MaskedPrediction predict(const ImageBatch& batch, const RandomStream& random, std::uint64_t step,
                           const ForwardContext& context) const {
    const Tensor noise = Tensor::empty({batch.images.shape()[0], model_.patches()});
    for_real(noise.dtype(), [&]<class Real>(Real) {
      // Every step has its own run of indices.
      std::uint64_t at = step << 32;
      for (Real& value : noise.span<Real>()) value = static_cast<Real>(random.uniform(at++));
    });
    return model_.forward(Var(batch.images), noise, context);
  }
};

template <class Model>
Model& model_of(const ObjectiveSite& site, const char* objective, const char* model) {
  check_invariant(site.model != nullptr && site.data != nullptr, "an objective needs a model and data");
  auto* const found = dynamic_cast<Model*>(site.model);
  if (found == nullptr) throw ConfigError(fmt::format("the objective '{}' needs the model '{}'", objective, model));
  return *found;
}

const ImageDataSet& labelled_data(const ObjectiveSite& site, bool is_dense) {
  const ImageDataSet& data = image_data(*site.data);
  if (data.is_dense() != is_dense) {
    throw ConfigError(is_dense ? "the objective 'segmentation' needs data with a label for every pixel; this has one "
                                 "for every image: train an image_classifier"
                               : "the objective 'image_classification' needs data with a label for every image; this "
                                 "has one for every pixel: train an image_segmenter");
  }
  return data;
}

const RegisterKind<Objective, ImageClassificationParams, ObjectiveSite> classification(
    "objective", "image_classification",
    [](Fields<ImageClassificationParams>& f) {
      f.doc("Name what an image shows: mean cross-entropy, with soft labels where the data mixes images.");
      f.add("label_smoothing", &ImageClassificationParams::label_smoothing,
            "weight of all classes alike in the targets of the training (arXiv:1512.00567); evaluations have none",
            at_least(0) && below(1));
    },
    make_image_classification);
const RegisterKind<Objective, SegmentationParams, ObjectiveSite> segmentation(
    "objective", "segmentation",
    [](Fields<SegmentationParams>& f) { f.doc("Name every pixel of an image: mean cross-entropy."); },
    make_segmentation);
const RegisterKind<Objective, MaskedAutoencodingParams, ObjectiveSite> autoencoding(
    "objective", "masked_autoencoding",
    [](Fields<MaskedAutoencodingParams>& f) {
      f.doc("Predict hidden patches of an image: mean squared error (arXiv:2111.06377). Labels are not used.");
    },
    make_masked_autoencoding);

}  // namespace

std::unique_ptr<Objective> make_image_classification(const ImageClassificationParams& params,
                                                     const ObjectiveSite& site) {
  auto& model = model_of<ImageClassifier>(site, "image_classification", "image_classifier");
  labelled_data(site, false);
  return std::make_unique<Labelling>(site, model, params.label_smoothing, "image", false);
}

std::unique_ptr<Objective> make_segmentation(const SegmentationParams& /*params*/, const ObjectiveSite& site) {
  auto& model = model_of<ImageSegmenter>(site, "segmentation", "image_segmenter");
  labelled_data(site, true);
  return std::make_unique<Labelling>(site, model, 0.0, "pixel", true);
}

std::unique_ptr<Objective> make_masked_autoencoding(const MaskedAutoencodingParams& /*params*/,
                                                    const ObjectiveSite& site) {
  auto& model = model_of<MaskedAutoencoder>(site, "masked_autoencoding", "masked_autoencoder");
  return std::make_unique<MaskedAutoencoding>(site, model);
}

}  // namespace rwkvlab
