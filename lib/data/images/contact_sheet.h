// Pictures of a batch side by side: to look at what a model is trained on.
#pragma once

#include "data/image_data_set.h"
#include "data/images/picture.h"

namespace rwkvlab {

/// The pictures of `batch` in rows of `columns`, each pixel `scale` x `scale` large, with a grey line between them. The
/// least value of the batch becomes black, the largest white. Of dense data, each picture is followed by its classes:
/// grey from 0 (dark) to `classes` - 1 (light), black where there is none.
BytePicture contact_sheet(const ImageBatch& batch, std::int64_t classes, std::int64_t columns, std::int64_t scale);

}  // namespace rwkvlab
