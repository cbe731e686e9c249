/* SPDX-License-Identifier: Apache-2.0 */
/* Installed. The one table of configuration keys. struct lj_config, its enums, the parser, `help`,
 * config.yaml and the table in src/SETTINGS.md are all made from it; adding a key touches only
 * this file.
 *
 *   INT(field, "key", default, low, high, "text")    int64_t field
 *   REAL(field, "key", default, low, high, "text")   double field
 *   PAIR(field, "key", a, b, low, high, "text")      double field[2], written "a,b"
 *   TEXT(field, "key", "default", "text")            char field[LJ_TEXT_MAX]
 *   CHOICE(field, "key", LJ_FIELD_ONE, WORD(LJ_FIELD_ONE, "one") WORD(LJ_FIELD_TWO, "two"), "text")
 *                                                enum lj_field field, LJ_FIELD_ONE written "one"
 *
 * 0 means never for every *.every. Order is the order of help. */

/* clang-format off */
#define LJ_CONFIG_KEYS(INT, REAL, PAIR, TEXT, CHOICE, WORD)                                        \
    TEXT(preset, "preset", "", "named set of values, applied before files: minimal, recipe")       \
    INT(seed, "seed", 0, 0, 9007199254740992, "seed of everything random")                         \
    CHOICE(precision, "precision", LJ_PRECISION_FP32,                                              \
        WORD(LJ_PRECISION_FP32, "fp32") WORD(LJ_PRECISION_BF16, "bf16")                            \
        WORD(LJ_PRECISION_AUTO, "auto"),                                                           \
        "products and saved activations; auto: bf16 where every processor has it")                 \
    CHOICE(reduce, "reduce", LJ_REDUCE_EXACT,                                                      \
        WORD(LJ_REDUCE_EXACT, "exact") WORD(LJ_REDUCE_FAST, "fast"),                               \
        "gradient sums: along the fixed tree, or by MPI's own reduction")                          \
    TEXT(data_archive, "data.archive", "",                                                         \
        "HDF5 files: a path, a comma-separated list, a glob or a directory; empty: the example")   \
    TEXT(data_images, "data.images", "", "dataset of images; empty: found automatically")          \
    TEXT(data_labels, "data.labels", "",                                                           \
        "dataset of labels, or FILE:DATASET; empty: `labels`-like names are tried; none: ignore")  \
    TEXT(data_where, "data.where", "", "rows to use: DATASET=VALUE, for example split=0")          \
    CHOICE(data_axes, "data.axes", LJ_DATA_AXES_AUTO,                                              \
        WORD(LJ_DATA_AXES_AUTO, "auto") WORD(LJ_DATA_AXES_NHWC, "nhwc")                            \
        WORD(LJ_DATA_AXES_NCHW, "nchw") WORD(LJ_DATA_AXES_NHW, "nhw"),                             \
        "order of the axes of the images")                                                         \
    INT(data_size, "data.size", 0, 0, 16384, "pixels the loader resizes to; 0: as stored")         \
    INT(data_cache, "data.cache", 1024, 0, 1048576, "MiB per rank for samples held in windows")    \
    INT(data_window, "data.window", 0, 0, 1048576,                                                 \
        "samples of one lane that are mixed; 0: 256, fewer when samples are large")                \
    INT(data_threads, "data.threads", 1, 1, 64, "threads that inflate chunks")                     \
    CHOICE(data_stretch, "data.stretch", LJ_DATA_STRETCH_NONE,                                     \
        WORD(LJ_DATA_STRETCH_NONE, "none") WORD(LJ_DATA_STRETCH_ASINH, "asinh")                    \
        WORD(LJ_DATA_STRETCH_LOG1P, "log1p") WORD(LJ_DATA_STRETCH_PERCENTILE, "percentile"),       \
        "how values are mapped before normalisation")                                              \
    CHOICE(data_nan, "data.nan", LJ_DATA_NAN_ERROR,                                                \
        WORD(LJ_DATA_NAN_ERROR, "error") WORD(LJ_DATA_NAN_ZERO, "zero"),                           \
        "pixels that are not finite")                                                              \
    INT(views_global, "views.global", 2, 1, 64, "global views of a sample")                        \
    INT(views_local, "views.local", 6, 0, 64, "local views of a sample")                           \
    INT(views_global_size, "views.global_size", 0, 0, 4096, "pixels; 0: the loaded size")          \
    INT(views_local_size, "views.local_size", 0, 0, 4096,                                          \
        "pixels; 0: 3/7 of the global size, a multiple of the patch, at least 2 patches")          \
    PAIR(views_global_scale, "views.global_scale", 0.3, 1.0, 0.0001, 1.0,                          \
        "share of the area a global crop covers")                                                  \
    PAIR(views_local_scale, "views.local_scale", 0.05, 0.3, 0.0001, 1.0,                           \
        "share of the area a local crop covers")                                                   \
    PAIR(views_ratio, "views.ratio", 0.75, 1.3333333333333333, 0.01, 100.0,                        \
        "aspect ratio of crops")                                                                   \
    REAL(views_flip, "views.flip", 0.5, 0.0, 1.0, "probability of a left-right flip")              \
    REAL(views_flip_vertical, "views.flip_vertical", 0.0, 0.0, 1.0,                                \
        "probability of an up-down flip")                                                          \
    REAL(views_rotate, "views.rotate", 0.0, 0.0, 1.0,                                              \
        "probability of a rotation by 90, 180 or 270 degrees")                                     \
    REAL(views_jitter, "views.jitter", 0.8, 0.0, 1.0, "probability of colour jitter (RGB)")        \
    REAL(views_brightness, "views.brightness", 0.4, 0.0, 1.0, "strength of brightness jitter")     \
    REAL(views_contrast, "views.contrast", 0.4, 0.0, 1.0, "strength of contrast jitter")           \
    REAL(views_saturation, "views.saturation", 0.2, 0.0, 1.0, "strength of saturation jitter")     \
    REAL(views_hue, "views.hue", 0.1, 0.0, 0.5, "strength of hue jitter")                          \
    REAL(views_grey, "views.grey", 0.2, 0.0, 1.0, "probability of greyscale (RGB)")                \
    REAL(views_blur, "views.blur", 0.5, 0.0, 1.0, "probability of Gaussian blur")                  \
    PAIR(views_blur_sigma, "views.blur_sigma", 0.1, 2.0, 0.01, 100.0,                              \
        "sigma of the blur in pixels of a 224 pixel view, scaled with the view's size")            \
    INT(views_blur_kernel, "views.blur_kernel", 0, 0, 255,                                         \
        "0: 3 sigma each way; else odd, pixels, and sigma is in pixels of the view, not scaled")   \
    REAL(views_solarize, "views.solarize", 0.2, 0.0, 1.0,                                          \
        "probability of solarizing above one half (RGB)")                                          \
    REAL(views_noise, "views.noise", 0.0, 0.0, 1.0, "probability of additive Gaussian noise")      \
    REAL(views_noise_sigma, "views.noise_sigma", 0.1, 0.0, 100.0,                                  \
        "largest sigma of the noise, in standard deviations of the channel")                       \
    REAL(views_intensity, "views.intensity", 0.0, 0.0, 1.0,                                        \
        "probability of intensity jitter of each channel (any channels)")                          \
    REAL(views_band_dropout, "views.band_dropout", 0.0, 0.0, 1.0,                                  \
        "probability that a channel is set to its mean (more than one channel)")                   \
    TEXT(model, "model", "vit_tiny", "encoder; `lejepa_mpi help model` lists them")                \
    INT(model_patch, "model.patch", 0, 0, 1024, "patch in pixels; 0: 8, or 4 below 48 pixels")     \
    INT(model_width, "model.width", 0, 0, 65536, "width; 0: the preset's")                         \
    INT(model_depth, "model.depth", 0, 0, 1024, "blocks; 0: the preset's")                         \
    INT(model_heads, "model.heads", 0, 0, 1024, "attention heads; 0: the preset's, or width/64")   \
    REAL(model_mlp_ratio, "model.mlp_ratio", 4.0, 0.25, 16.0, "hidden width of a block's MLP")     \
    INT(model_registers, "model.registers", 0, 0, 64, "register tokens")                           \
    CHOICE(model_pool, "model.pool", LJ_MODEL_POOL_TOKEN,                                          \
        WORD(LJ_MODEL_POOL_TOKEN, "token") WORD(LJ_MODEL_POOL_MEAN, "mean"),                       \
        "embedding: normalised class token, or the norm of the patch tokens' mean")                \
    INT(model_head, "model.head", 0, 0, 65536,                                                     \
        "width of a linear head that makes the embedding; 0: none")                                \
    REAL(model_drop_path, "model.drop_path", 0.0, 0.0, 0.9,                                        \
        "rate of the last block, rising linearly from 0")                                          \
    INT(projector_hidden, "projector.hidden", 2048, 1, 65536, "hidden width of the projector")     \
    INT(projector_layers, "projector.layers", 3, 1, 8, "linear layers of the projector")           \
    INT(projector_out, "projector.out", 64, 1, 65536, "projection width")                          \
    CHOICE(projector_norm, "projector.norm", LJ_PROJECTOR_NORM_BATCH,                              \
        WORD(LJ_PROJECTOR_NORM_BATCH, "batch") WORD(LJ_PROJECTOR_NORM_LANE, "lane")                \
        WORD(LJ_PROJECTOR_NORM_LAYER, "layer") WORD(LJ_PROJECTOR_NORM_NONE, "none"),               \
        "normalisation of hidden layers: over the global batch, over a lane, a row, none")         \
    TEXT(objective, "objective", "lejepa",                                                         \
        "what training minimises: lejepa, vicreg; an unknown name is answered with all there are") \
    REAL(loss_lambda, "loss.lambda", 0.05, 0.0, 1.0e6, "weight of SIGReg")                         \
    CHOICE(loss_combine, "loss.combine", LJ_LOSS_COMBINE_CONVEX,                                   \
        WORD(LJ_LOSS_COMBINE_CONVEX, "convex") WORD(LJ_LOSS_COMBINE_ADDITIVE, "additive"),         \
        "lambda SIGReg + (1 - lambda) prediction, or lambda SIGReg + prediction")                  \
    CHOICE(predict_centre, "predict.centre", LJ_PREDICT_CENTRE_GLOBAL,                             \
        WORD(LJ_PREDICT_CENTRE_GLOBAL, "global") WORD(LJ_PREDICT_CENTRE_ALL, "all"),               \
        "views whose mean the prediction loss is taken from")                                      \
    INT(sigreg_slices, "sigreg.slices", 1024, 1, 1048576, "random directions per step")            \
    CHOICE(sigreg_grid, "sigreg.grid", LJ_SIGREG_GRID_A,                                           \
        WORD(LJ_SIGREG_GRID_A, "a") WORD(LJ_SIGREG_GRID_B, "b"),                                   \
        "knots: a: 17 on [0,3]; b: 17 on [-5,5]")                                                  \
    REAL(vicreg_invariance, "vicreg.invariance", 25.0, 0.0, 1.0e6,                                 \
        "objective=vicreg: weight of the distance between views")                                  \
    REAL(vicreg_variance, "vicreg.variance", 25.0, 0.0, 1.0e6,                                     \
        "objective=vicreg: weight of the hinge on standard deviations")                            \
    REAL(vicreg_covariance, "vicreg.covariance", 1.0, 0.0, 1.0e6,                                  \
        "objective=vicreg: weight of squared covariances")                                         \
    INT(batch_size, "batch.size", 256, 1, 1073741824, "samples of the global batch")               \
    INT(batch_lanes, "batch.lanes", 0, 0, 1073741824,                                              \
        "equal parts of the batch, the unit of computation; 0: 8 samples each")                    \
    REAL(optim_lr, "optim.lr", 0.0005, 0.0, 1.0e3, "peak learning rate")                           \
    REAL(optim_lr_floor, "optim.lr_floor", -1.0, -1.0, 1.0e3,                                      \
        "learning rate at the end; -1: optim.lr / 1000")                                           \
    REAL(optim_weight_decay, "optim.weight_decay", 0.05, 0.0, 1.0e3, "decoupled weight decay")     \
    CHOICE(optim_decay_on, "optim.decay_on", LJ_OPTIM_DECAY_ON_ALL,                                \
        WORD(LJ_OPTIM_DECAY_ON_ALL, "all") WORD(LJ_OPTIM_DECAY_ON_MATRICES, "matrices"),           \
        "decayed parameters: all, or none of the biases, norms, tokens and positions")             \
    REAL(optim_beta1, "optim.beta1", 0.9, 0.0, 0.999999, "decay of the first moment")              \
    REAL(optim_beta2, "optim.beta2", 0.999, 0.0, 0.99999999, "decay of the second moment")         \
    REAL(optim_eps, "optim.eps", 1.0e-8, 0.0, 1.0, "added to the root of the second moment")       \
    REAL(optim_clip, "optim.clip", 0.0, 0.0, 1.0e30, "largest gradient norm; 0: not clipped")      \
    REAL(optim_warmup_epochs, "optim.warmup_epochs", 1.0, 0.0, 1.0e9,                              \
        "epochs of linear warm-up from 1 % of the peak")                                           \
    INT(train_steps, "train.steps", 0, 0, 1000000000000, "steps; 0: from train.epochs")            \
    REAL(train_epochs, "train.epochs", 100.0, 0.0, 1.0e9, "epochs, when train.steps is 0")         \
    INT(log_every, "log.every", 10, 0, 1000000000, "steps between lines of metrics.jsonl")         \
    INT(eval_every, "eval.every", 0, 0, 1000000000, "steps between kNN evaluations")               \
    TEXT(eval_archive, "eval.archive", "",                                                         \
        "labelled archive of the evaluation; empty: data.archive")                                 \
    TEXT(eval_where, "eval.where", "",                                                             \
        "rows whose labels are predicted; the bank is data.where of the same archive")             \
    INT(eval_bank, "eval.bank", 10000, 1, 100000000,                                               \
        "rows of the kNN bank, spaced evenly over those of data.where")                            \
    INT(checkpoint_every, "checkpoint.every", 0, 0, 1000000000, "steps between checkpoints")       \
    INT(checkpoint_keep, "checkpoint.keep", 2, 1, 1000000, "checkpoints kept")                     \
    CHOICE(memory_recompute, "memory.recompute", LJ_MEMORY_RECOMPUTE_NONE,                         \
        WORD(LJ_MEMORY_RECOMPUTE_NONE, "none") WORD(LJ_MEMORY_RECOMPUTE_BLOCKS, "blocks")          \
        WORD(LJ_MEMORY_RECOMPUTE_LANES, "lanes"),                                                  \
        "forget activations and compute them again: never, between blocks, between lanes")         \
    INT(memory_tile, "memory.tile", 512, 0, 1000000000,                                            \
        "tokens that pass through a block at a time, to stay in cache; 0: a whole lane; changes "  \
        "bits")                                                                                    \
    INT(threads, "threads", 0, 0, 1024, "OpenMP threads per rank; 0: OMP_NUM_THREADS, else 1")     \
    CHOICE(guard_nonfinite, "guard.nonfinite", LJ_GUARD_NONFINITE_STOP,                            \
        WORD(LJ_GUARD_NONFINITE_STOP, "stop") WORD(LJ_GUARD_NONFINITE_SKIP, "skip"),               \
        "what a step that is not finite does")                                                     \
    REAL(guard_collapse, "guard.collapse", 0.0, 0.0, 1.0e9,                                        \
        "stop when the projections' effective rank falls below this; 0: never")                    \
    REAL(guard_stall_s, "guard.stall_s", 600.0, 0.0, 1.0e9,                                        \
        "seconds without progress (a lane, a chunk) after which the job ends; 0: never")           \
    TEXT(run_dir, "run.dir", "", "directory of the run; empty: runs/<date-time>")                  \
    CHOICE(run_measure_peak, "run.measure_peak", LJ_RUN_MEASURE_PEAK_FALSE,                        \
        WORD(LJ_RUN_MEASURE_PEAK_FALSE, "false") WORD(LJ_RUN_MEASURE_PEAK_TRUE, "true"),           \
        "measure at the start what a product reaches here, in 0.2 s: the report gives shares of "  \
        "it")                                                                                      \
    REAL(run_max_seconds, "run.max_seconds", 0.0, 0.0, 1.0e9,                                      \
        "wall-clock budget: checkpoint and exit 75; 0: none")

/* Arguments of single commands: same syntax, never part of config.yaml. */
#define LJ_COMMAND_KEYS(INT, REAL, PAIR, TEXT, CHOICE, WORD)                                       \
    TEXT(arg_out, "out", "", "embed, inspect, pack, export, import: file or directory to write")   \
    TEXT(arg_grad, "grad", "", "diagnose: file for d(loss)/d(proj)")                               \
    INT(arg_json, "json", 0, 0, 1,                                                                 \
        "probe, diagnose, inspect: 1: one JSON object on standard output")                         \
    TEXT(arg_train, "train", "", "probe: embedding file the probes are fitted on")                 \
    TEXT(arg_test, "test", "", "probe: embedding file that is predicted")                          \
    TEXT(arg_checkpoint, "checkpoint", "", "embed, export: checkpoint file or run directory")      \
    TEXT(arg_weights, "weights", "", "import: safetensors file")                                   \
    TEXT(arg_parts, "parts", "",                                                                   \
        "pack: IMAGES,LABELS,SPLIT,COUNT for each part, parts separated by `;`; COUNT 0: all")     \
    INT(arg_balanced, "balanced", 0, 0, 1, "pack: 1: the same number of samples of every class")   \
    TEXT(arg_licence, "licence", "",                                                               \
        "pack: text file whose contents are stored as attribute licence")                          \
    REAL(arg_l2, "l2", 0.001, 0.0, 1.0e6, "probe: L2 strength of the linear probe")                \
    CHOICE(arg_features, "features", LJ_ARG_FEATURES_MODEL,                                        \
        WORD(LJ_ARG_FEATURES_MODEL, "model") WORD(LJ_ARG_FEATURES_UNTRAINED, "untrained")          \
        WORD(LJ_ARG_FEATURES_PIXELS, "pixels"),                                                    \
        "embed: the checkpoint's encoder, the same encoder untrained, or raw pixels")

/* The CHOICE rows of both tables, the others left out. */
#define LJ_CHOICE_KEYS(CHOICE, WORD)                                                               \
    LJ_CONFIG_KEYS(LJ_NO_ROW, LJ_NO_ROW, LJ_NO_ROW, LJ_NO_ROW, CHOICE, WORD)                       \
    LJ_COMMAND_KEYS(LJ_NO_ROW, LJ_NO_ROW, LJ_NO_ROW, LJ_NO_ROW, CHOICE, WORD)
#define LJ_NO_ROW(...)
/* clang-format on */
