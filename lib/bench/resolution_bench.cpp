#include "bench/resolution_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "bench/image_workload.h"
#include "bench/measure.h"
#include "kernels/parallel.h"
#include "models/image_model.h"
#include "train/objective.h"

namespace rwkvlab {
namespace {

// A model and one batch of images of every size.
class ResolutionTraining {
 public:
  ResolutionTraining(const TrainWorkload& workload, int batch) : workload_(workload), batch_(batch) {
    if (!workload.image_model) {
      throw ConfigError(
          fmt::format("'{}' is a model of text; sizes of images are measured of models of images", workload.name));
    }
    const ImageDataSet& data = *workload.images;
    model_ = make_root(build_kind<Module, ModelSite>(
        "model", workload.image_model, ModelSite{0, data.channels(), data.height(), data.width(), data.classes()}));
    model_->allocate(1);
  }

  Var loss(const ImageDataSet& images, bool training) {
    const Choice objective = workload_.objective
                                 ? workload_.objective
                                 : make_choice("objective", objective_of_model(workload_.image_model.kind));
    ForwardContext context;
    context.training = training;
    return make_objective(objective, {model_.get(), &images, batch_, 1})->forward(0, context).loss;
  }
  void forward(const ImageDataSet& images) {
    const PrecisionScope precision(workload_.precision);
    loss(images, false);
  }
  void forward_backward(const ImageDataSet& images) {
    {
      const PrecisionScope precision(workload_.precision);
      Tape tape;
      tape.backward(loss(images, true));
    }
    for (Parameter* const parameter : model_->parameters()) parameter->var.clear_grad();
  }

 private:
  TrainWorkload workload_;
  int batch_;
  std::unique_ptr<Module> model_;
};

// One model, and what is measured of it.
struct Measured {
  std::unique_ptr<ResolutionTraining> training;
  ResolutionReport report;
};

std::vector<std::int64_t> checked_sides(const std::vector<std::int64_t>& given) {
  std::vector<std::int64_t> sides = sorted_once(given);
  if (sides.empty() || sides.front() < 1) throw ConfigError("expected sides of images, in pixels");
  return sides;
}

std::int64_t tokens_of(const TrainWorkload& workload, std::int64_t side) {
  const auto built = build_kind<Module, ModelSite>("model", workload.image_model, ModelSite{0, 3, side, side, 1000});
  return dynamic_cast<const ImageModel&>(*built).patches();
}

}  // namespace

std::vector<ResolutionReport> bench_resolution(const std::vector<TrainWorkload>& workloads,
                                               const ResolutionBenchOptions& options) {
  const std::vector<std::int64_t> sides = checked_sides(options.sides);
  std::vector<std::unique_ptr<ImageDataSet>> images;
  for (const std::int64_t side : sides) images.push_back(random_images(side, side));
  std::vector<Measured> all;
  for (const TrainWorkload& workload : workloads) {
    const std::int64_t before = memory_use().live;
    Measured& measured = all.emplace_back(
        Measured{std::make_unique<ResolutionTraining>(workload, options.batch),
                 {workload.name, kernels::threads(), options.batch, precision_used(workload.precision), {}}});
    for (std::size_t i = 0; i < sides.size(); ++i) {
      ResolutionPoint& point = measured.report.points.emplace_back();
      point.side = sides[i];
      point.tokens = tokens_of(workload, sides[i]);
      point.forward.peak_tensors = peak_tensors_of(before, [&] { measured.training->forward(*images[i]); });
      if (!options.training) continue;
      point.training.emplace();
      point.training->peak_tensors = peak_tensors_of(before, [&] { measured.training->forward_backward(*images[i]); });
    }
  }
  std::vector<Candidate> candidates;
  std::vector<double*> results;
  for (Measured& measured : all) {
    for (std::size_t i = 0; i < sides.size(); ++i) {
      ResolutionPoint& point = measured.report.points[i];
      ResolutionTraining* const training = measured.training.get();
      const ImageDataSet* const set = images[i].get();
      const std::string name = fmt::format("{}/{}", measured.report.workload, point.side);
      candidates.push_back({name, [=] { training->forward(*set); }});
      results.push_back(&point.forward.seconds);
      if (!point.training) continue;
      candidates.push_back({name + "/training", [=] { training->forward_backward(*set); }});
      results.push_back(&point.training->seconds);
    }
  }
  measure_into(candidates, results, options.repetitions, options.seconds);
  std::vector<ResolutionReport> reports;
  for (Measured& measured : all) reports.push_back(std::move(measured.report));
  return reports;
}

std::optional<double> crossing_side(const ResolutionReport& a, const ResolutionReport& b) {
  const auto difference = [&](std::size_t i) {
    return std::log(a.points[i].forward.seconds / b.points[i].forward.seconds);
  };
  for (std::size_t i = 0; i + 1 < std::min(a.points.size(), b.points.size()); ++i) {
    const double here = difference(i), next = difference(i + 1);
    if (here * next > 0) continue;
    const double share = here == next ? 0 : here / (here - next);
    return std::exp(std::log(static_cast<double>(a.points[i].side)) * (1 - share) +
                    std::log(static_cast<double>(a.points[i + 1].side)) * share);
  }
  return std::nullopt;
}

std::string text(const std::vector<ResolutionReport>& reports) {
  std::string out;
  for (const ResolutionReport& report : reports) {
    out +=
        fmt::format("{}, batch {}\n", conditions_text(report.workload, report.threads, report.precision), report.batch);
    out += fmt::format("  {:>6} {:>8} {:>12} {:>10} {:>10} {:>14} {:>10}\n", "side", "tokens", "forward ms", "images/s",
                       "MB", "training ms", "MB");
    for (const ResolutionPoint& p : report.points) {
      out += fmt::format("  {:>6} {:>8} {:>12.1f} {:>10.2f} {:>10.0f}", p.side, p.tokens, p.forward.seconds * 1e3,
                         report.batch / p.forward.seconds, p.forward.peak_tensors * 1e-6);
      if (p.training)
        out += fmt::format(" {:>14.1f} {:>10.0f}", p.training->seconds * 1e3, p.training->peak_tensors * 1e-6);
      out += "\n";
    }
  }
  for (std::size_t i = 1; i < reports.size(); ++i) {
    const std::optional<double> side = crossing_side(reports[0], reports[i]);
    out += side ? fmt::format("forward passes of {} and {} take equally long at {:.0f} pixels\n", reports[0].workload,
                              reports[i].workload, *side)
                : fmt::format("forward passes of {} and {} cross at none of these sizes\n", reports[0].workload,
                              reports[i].workload);
  }
  return out;
}

nlohmann::json json(const std::vector<ResolutionReport>& reports) {
  nlohmann::json all = nlohmann::json::array();
  for (const ResolutionReport& report : reports) {
    nlohmann::json points = nlohmann::json::array();
    for (const ResolutionPoint& p : report.points) {
      nlohmann::json point = {{"side", p.side},
                              {"tokens", p.tokens},
                              {"forward_seconds", p.forward.seconds},
                              {"forward_peak_tensor_bytes", p.forward.peak_tensors}};
      if (p.training) {
        point["training_seconds"] = p.training->seconds;
        point["training_peak_tensor_bytes"] = p.training->peak_tensors;
      }
      points.push_back(std::move(point));
    }
    all.push_back({{"workload", report.workload},
                   {"threads", report.threads},
                   {"precision", report.precision},
                   {"batch", report.batch},
                   {"sides", std::move(points)}});
    const std::optional<double> side = crossing_side(reports.front(), report);
    if (&report != &reports.front() && side) all.back()["crossing_side"] = *side;
  }
  return all;
}

}  // namespace rwkvlab
