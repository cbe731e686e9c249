/* SPDX-License-Identifier: Apache-2.0 */
/* Installed. The one table of configuration keys. struct lj_config, its enums, the parser, `help`,
 * config.yaml and the table in src/SETTINGS.md are all made from it; adding a key touches only
 * this file.
 *
 *   INT(role, field, "key", default, low, high, "text")    int64_t field
 *   REAL(role, field, "key", default, low, high, "text")   double field
 *   PAIR(role, field, "key", a, b, low, high, "text")      double field[2], written "a,b"
 *   TEXT(role, field, "key", "default", "text")            char field[LJ_TEXT_MAX]
 *   CHOICE(role, field, "key", LJ_FIELD_ONE,
 *       WORD(LJ_FIELD_ONE, "one") WORD(LJ_FIELD_TWO, "two"), "text")
 *                                     enum lj_field field, LJ_FIELD_ONE written "one"
 *
 * Roles:
 *   BITS      the weights of a run depend on it: a run continues with another value only where
 *             resume.change names the key
 *   FREE      they do not
 *   ARGUMENT  no setting of a run, but an argument of single commands
 *
 * 0 means never for every *.every. Order is the order of help. */

/* clang-format off */
#define LJ_CONFIG_KEYS(INT, REAL, PAIR, TEXT, CHOICE, WORD)                                        \
    TEXT(FREE, preset, "preset", "",                                                               \
        "named sets of values, separated by commas, applied before files: minimal, recipe; those " \
        "of a field set views alone: microscopy, astronomy, materials, remote_sensing")            \
    INT(BITS, seed, "seed", 0, 0, 9007199254740992, "seed of everything random")                   \
    CHOICE(BITS, precision, "precision", LJ_PRECISION_FP32,                                        \
        WORD(LJ_PRECISION_FP32, "fp32") WORD(LJ_PRECISION_BF16, "bf16")                            \
        WORD(LJ_PRECISION_AUTO, "auto"),                                                           \
        "products and saved activations; auto: bf16 where every processor has it")                 \
    CHOICE(BITS, reduce, "reduce", LJ_REDUCE_EXACT,                                                \
        WORD(LJ_REDUCE_EXACT, "exact") WORD(LJ_REDUCE_FAST, "fast"),                               \
        "gradient sums: along the fixed tree, or by MPI's own reduction")                          \
    CHOICE(FREE, comm_exchange, "comm.exchange", LJ_COMM_EXCHANGE_AUTO,                            \
        WORD(LJ_COMM_EXCHANGE_AUTO, "auto") WORD(LJ_COMM_EXCHANGE_RANKS, "ranks")                  \
        WORD(LJ_COMM_EXCHANGE_NODES, "nodes"),                                                     \
        "who sends gradients and weights to whom: ranks to ranks, or nodes to nodes, whose ranks " \
        "share memory; auto: nodes, if there are several and one has several ranks")               \
    CHOICE(BITS, comm_gradients, "comm.gradients", LJ_COMM_GRADIENTS_FLOAT32,                      \
        WORD(LJ_COMM_GRADIENTS_FLOAT32, "float32") WORD(LJ_COMM_GRADIENTS_BF16, "bf16"),           \
        "gradients between ranks; bf16: a lane's, and every sum of the tree, are rounded, and "    \
        "messages have half the bytes")                                                            \
    TEXT(FREE, data_archive, "data.archive", "",                                                   \
        "HDF5 files: a path, a comma-separated list, a glob or a directory; empty: the example")   \
    TEXT(FREE, data_images, "data.images", "",                                                     \
        "datasets of images: a name, a path or a pattern (scan*); empty: those of one name")       \
    TEXT(FREE, data_labels, "data.labels", "",                                                     \
        "dataset of labels, or FILE:DATASET; empty: `labels`-like names are tried; none: ignore")  \
    REAL(FREE, data_unlabelled, "data.unlabelled", -1.0, -1.0e300, 1.0e300,                        \
        "label that means none, besides negative ones and NaN; also of the files of probe")        \
    TEXT(BITS, data_where, "data.where", "",                                                       \
        "rows to use: conditions joined by `and`: split=train, label=1,3..5, z<0.5, flag!=1")      \
    CHOICE(BITS, data_axes, "data.axes", LJ_DATA_AXES_AUTO,                                        \
        WORD(LJ_DATA_AXES_AUTO, "auto") WORD(LJ_DATA_AXES_NHWC, "nhwc")                            \
        WORD(LJ_DATA_AXES_NCHW, "nchw") WORD(LJ_DATA_AXES_NHW, "nhw")                              \
        WORD(LJ_DATA_AXES_HWC, "hwc") WORD(LJ_DATA_AXES_CHW, "chw"),                               \
        "order of the axes; hwc, chw: a dataset is one image; auto: by its shape")                 \
    INT(BITS, data_size, "data.size", 0, 0, 16384, "pixels the loader resizes to; 0: as stored")   \
    INT(FREE, data_cache, "data.cache", 1024, 0, 1048576,                                          \
        "MiB per rank for samples held in windows")                                                \
    INT(BITS, data_window, "data.window", 0, 0, 1048576,                                           \
        "samples of one lane that are mixed; 0: 256, fewer when samples are large")                \
    INT(FREE, data_threads, "data.threads", 1, 1, 64, "threads that inflate chunks")               \
    REAL(BITS, data_full_scale, "data.full_scale", 0.0, 0.0, 1.0e30,                               \
        "stored value that becomes 1; 0: 255 for u8, 127 for i8, others are taken as stored")      \
    CHOICE(BITS, data_stretch, "data.stretch", LJ_DATA_STRETCH_NONE,                               \
        WORD(LJ_DATA_STRETCH_NONE, "none") WORD(LJ_DATA_STRETCH_ASINH, "asinh")                    \
        WORD(LJ_DATA_STRETCH_LOG1P, "log1p") WORD(LJ_DATA_STRETCH_PERCENTILE, "percentile"),       \
        "how values are mapped before normalisation")                                              \
    REAL(BITS, data_stretch_scale, "data.stretch_scale", 0.0, 0.0, 1.0e30,                         \
        "data.stretch=asinh: asinh(x / this), x after data.full_scale; 0: each channel's noise")   \
    CHOICE(BITS, data_nan, "data.nan", LJ_DATA_NAN_ERROR,                                          \
        WORD(LJ_DATA_NAN_ERROR, "error") WORD(LJ_DATA_NAN_ZERO, "zero"),                           \
        "pixels that are not finite, and blank ones")                                              \
    TEXT(BITS, data_blank, "data.blank", "",                                                       \
        "stored value of blank pixels; none; empty: attributes BLANK, _FillValue, missing_value")  \
    INT(BITS, views_global, "views.global", 2, 1, 64, "global views of a sample")                  \
    INT(BITS, views_local, "views.local", 6, 0, 64, "local views of a sample")                     \
    INT(BITS, views_global_size, "views.global_size", 0, 0, 4096, "pixels; 0: the loaded size")    \
    INT(BITS, views_local_size, "views.local_size", 0, 0, 4096,                                    \
        "pixels; 0: 3/7 of the global size, a multiple of the patch (of the encoder's stride), "   \
        "at least 2 of it")                                                                        \
    PAIR(BITS, views_global_scale, "views.global_scale", 0.3, 1.0, 0.0001, 1.0,                    \
        "share of the area a global crop covers")                                                  \
    PAIR(BITS, views_local_scale, "views.local_scale", 0.05, 0.3, 0.0001, 1.0,                     \
        "share of the area a local crop covers")                                                   \
    PAIR(BITS, views_ratio, "views.ratio", 0.75, 1.3333333333333333, 0.01, 100.0,                  \
        "aspect ratio of crops")                                                                   \
    INT(BITS, views_redraw, "views.redraw", 0, 0, 1000,                                            \
        "times that a crop is drawn again, at most, whose pixels vary by less than a tenth of "    \
        "the image's variance: for small objects on an empty background")                          \
    REAL(BITS, views_flip, "views.flip", 0.5, 0.0, 1.0, "probability of a left-right flip")        \
    REAL(BITS, views_flip_vertical, "views.flip_vertical", 0.0, 0.0, 1.0,                          \
        "probability of an up-down flip")                                                          \
    REAL(BITS, views_rotate, "views.rotate", 0.0, 0.0, 1.0,                                        \
        "probability of a rotation by 90, 180 or 270 degrees")                                     \
    REAL(BITS, views_rotate_any, "views.rotate_any", 0.0, 0.0, 1.0,                                \
        "probability of a rotation by any angle: corners show what is around the crop, and the "   \
        "reflected image beyond its border")                                                       \
    REAL(BITS, views_jitter, "views.jitter", 0.8, 0.0, 1.0, "probability of colour jitter (RGB)")  \
    REAL(BITS, views_brightness, "views.brightness", 0.4, 0.0, 1.0,                                \
        "strength of brightness jitter")                                                           \
    REAL(BITS, views_contrast, "views.contrast", 0.4, 0.0, 1.0, "strength of contrast jitter")     \
    REAL(BITS, views_saturation, "views.saturation", 0.2, 0.0, 1.0,                                \
        "strength of saturation jitter")                                                           \
    REAL(BITS, views_hue, "views.hue", 0.1, 0.0, 0.5, "strength of hue jitter")                    \
    REAL(BITS, views_grey, "views.grey", 0.2, 0.0, 1.0, "probability of greyscale (RGB)")          \
    REAL(BITS, views_blur, "views.blur", 0.5, 0.0, 1.0, "probability of Gaussian blur")            \
    PAIR(BITS, views_blur_sigma, "views.blur_sigma", 0.1, 2.0, 0.01, 100.0,                        \
        "sigma of the blur in pixels of a 224 pixel view, scaled with the view's size")            \
    INT(BITS, views_blur_kernel, "views.blur_kernel", 0, 0, 255,                                   \
        "0: 3 sigma each way; else odd, pixels, and sigma is in pixels of the view, not scaled")   \
    REAL(BITS, views_solarize, "views.solarize", 0.2, 0.0, 1.0,                                    \
        "probability of solarizing above one half (RGB)")                                          \
    REAL(BITS, views_noise, "views.noise", 0.0, 0.0, 1.0,                                          \
        "probability of additive Gaussian noise")                                                  \
    REAL(BITS, views_noise_sigma, "views.noise_sigma", 0.1, 0.0, 100.0,                            \
        "largest sigma of the noise, in standard deviations of the channel")                       \
    REAL(BITS, views_intensity, "views.intensity", 0.0, 0.0, 1.0,                                  \
        "probability of intensity jitter of each channel (any channels)")                          \
    REAL(BITS, views_band_dropout, "views.band_dropout", 0.0, 0.0, 1.0,                            \
        "probability that a channel is set to its mean (more than one channel)")                   \
    TEXT(BITS, model, "model", "vit_tiny", "encoder; `lejepa_mpi help model` lists them")          \
    INT(BITS, model_patch, "model.patch", 0, 0, 1024,                                              \
        "patch in pixels; 0: of a ViT 8, below 48 pixels 4; of a ConvNeXt 4, below 96 pixels 2, "  \
        "below 48 pixels 1")                                                                       \
    INT(BITS, model_width, "model.width", 0, 0, 65536,                                             \
        "width; of a ResNet or ConvNeXt: of its first stage, each next one has twice as much; 0: " \
        "the preset's")                                                                            \
    INT(BITS, model_depth, "model.depth", 0, 0, 1024,                                              \
        "blocks; of a ResNet or ConvNeXt: of each of its four stages; 0: the preset's")            \
    INT(BITS, model_heads, "model.heads", 0, 0, 1024,                                              \
        "attention heads; 0: the preset's, or width/64")                                           \
    REAL(BITS, model_mlp_ratio, "model.mlp_ratio", 4.0, 0.25, 16.0,                                \
        "hidden width of a block's MLP by model.width; vit_giant and vit_gigantic have their own " \
        "unless it is given")                                                                      \
    INT(BITS, model_registers, "model.registers", 0, 0, 64, "register tokens")                     \
    CHOICE(BITS, model_pool, "model.pool", LJ_MODEL_POOL_TOKEN,                                    \
        WORD(LJ_MODEL_POOL_TOKEN, "token") WORD(LJ_MODEL_POOL_MEAN, "mean"),                       \
        "embedding: normalised class token, or the norm of the patch tokens' mean")                \
    INT(BITS, model_head, "model.head", 0, 0, 65536,                                               \
        "width of a linear head that makes the embedding; 0: none")                                \
    REAL(BITS, model_drop_path, "model.drop_path", 0.0, 0.0, 0.9,                                  \
        "rate of the last block, rising linearly from 0")                                          \
    CHOICE(BITS, model_stem, "model.stem", LJ_MODEL_STEM_AUTO,                                     \
        WORD(LJ_MODEL_STEM_AUTO, "auto") WORD(LJ_MODEL_STEM_SMALL, "small")                        \
        WORD(LJ_MODEL_STEM_LARGE, "large"),                                                        \
        "first layers of a ResNet: at full resolution, or at a quarter; auto: small below 96 px")  \
    CHOICE(BITS, model_norm, "model.norm", LJ_MODEL_NORM_LANE,                                     \
        WORD(LJ_MODEL_NORM_LANE, "lane") WORD(LJ_MODEL_NORM_BATCH, "batch"),                       \
        "batch normalisation of a ResNet: over a lane, or over the global batch")                  \
    INT(BITS, projector_hidden, "projector.hidden", 2048, 1, 65536,                                \
        "hidden width of the projector")                                                           \
    INT(BITS, projector_layers, "projector.layers", 3, 1, 8, "linear layers of the projector")     \
    INT(BITS, projector_out, "projector.out", 64, 1, 65536, "projection width")                    \
    CHOICE(BITS, projector_norm, "projector.norm", LJ_PROJECTOR_NORM_BATCH,                        \
        WORD(LJ_PROJECTOR_NORM_BATCH, "batch") WORD(LJ_PROJECTOR_NORM_LANE, "lane")                \
        WORD(LJ_PROJECTOR_NORM_LAYER, "layer") WORD(LJ_PROJECTOR_NORM_NONE, "none"),               \
        "normalisation of hidden layers: over the global batch, over a lane, a row, none")         \
    INT(BITS, predictor_hidden, "predictor.hidden", 0, 0, 65536,                                   \
        "objective=byol: hidden width of the predictor behind the projector; 0: "                  \
        "projector.hidden")                                                                        \
    TEXT(BITS, objective, "objective", "lejepa",                                                   \
        "what training minimises: lejepa, byol, dino, simclr, supervised, vicreg; an unknown "     \
        "name is answered with all there are")                                                     \
    REAL(BITS, loss_lambda, "loss.lambda", 0.05, 0.0, 1.0e6, "weight of SIGReg")                   \
    CHOICE(BITS, loss_combine, "loss.combine", LJ_LOSS_COMBINE_CONVEX,                             \
        WORD(LJ_LOSS_COMBINE_CONVEX, "convex") WORD(LJ_LOSS_COMBINE_ADDITIVE, "additive"),         \
        "lambda SIGReg + (1 - lambda) prediction, or lambda SIGReg + prediction")                  \
    CHOICE(BITS, predict_centre, "predict.centre", LJ_PREDICT_CENTRE_AUTO,                         \
        WORD(LJ_PREDICT_CENTRE_AUTO, "auto")                                                       \
        WORD(LJ_PREDICT_CENTRE_GLOBAL, "global") WORD(LJ_PREDICT_CENTRE_ALL, "all"),               \
        "views whose mean the prediction loss is taken from; auto: global for a ViT and for "      \
        "diagnose, all for other encoders")                                                        \
    INT(BITS, sigreg_slices, "sigreg.slices", 1024, 1, 1048576, "random directions per step")      \
    CHOICE(BITS, sigreg_grid, "sigreg.grid", LJ_SIGREG_GRID_A,                                     \
        WORD(LJ_SIGREG_GRID_A, "a") WORD(LJ_SIGREG_GRID_B, "b"),                                   \
        "knots: a: 17 on [0,3]; b: 17 on [-5,5]")                                                  \
    INT(BITS, dino_prototypes, "dino.prototypes", 0, 0, 1048576,                                   \
        "objective=dino: directions that projections, projector.out wide (DINO's own: 256), are "  \
        "compared with; 0: 4096; DINO's own: 65536")                                               \
    REAL(BITS, dino_student_temperature, "dino.student_temperature", 0.1, 0.01, 1.0e3,             \
        "objective=dino: what cosines of the trained network are divided by")                      \
    REAL(BITS, dino_teacher_temperature, "dino.teacher_temperature", 0.07, 0.01, 1.0e3,            \
        "objective=dino: what those of the targets are divided by, after the warm-up")             \
    REAL(BITS, dino_warmup_temperature, "dino.warmup_temperature", 0.04, 0.01, 1.0e3,              \
        "objective=dino: the same in the first step")                                              \
    REAL(BITS, dino_warmup_epochs, "dino.warmup_epochs", 30.0, 0.0, 1.0e9,                         \
        "objective=dino: epochs in which the targets' temperature goes from one to the other")     \
    REAL(BITS, dino_centre_momentum, "dino.centre_momentum", 0.9, 0.0, 1.0,                        \
        "objective=dino: decay of the running mean of the targets' cosines that is subtracted")    \
    REAL(BITS, dino_freeze_epochs, "dino.freeze_epochs", 1.0, 0.0, 1.0e9,                          \
        "objective=dino: epochs, the first ones, in which prototypes keep their directions")       \
    REAL(BITS, vicreg_invariance, "vicreg.invariance", 25.0, 0.0, 1.0e6,                           \
        "objective=vicreg: weight of the distance between views")                                  \
    REAL(BITS, vicreg_variance, "vicreg.variance", 25.0, 0.0, 1.0e6,                               \
        "objective=vicreg: weight of the hinge on standard deviations")                            \
    REAL(BITS, vicreg_covariance, "vicreg.covariance", 1.0, 0.0, 1.0e6,                            \
        "objective=vicreg: weight of squared covariances")                                         \
    REAL(BITS, simclr_temperature, "simclr.temperature", 0.5, 0.03, 1.0e3,                         \
        "objective=simclr: what cosines are divided by; SimCLR's own: 0.5 for CIFAR-10, 0.1 for "  \
        "ImageNet")                                                                                \
    INT(BITS, supervised_classes, "supervised.classes", 0, 0, 65536,                               \
        "objective=supervised: classes of its linear classifier; 0: as many as the labels have")   \
    CHOICE(BITS, supervised_balance, "supervised.balance", LJ_SUPERVISED_BALANCE_FALSE,            \
        WORD(LJ_SUPERVISED_BALANCE_FALSE, "false") WORD(LJ_SUPERVISED_BALANCE_TRUE, "true"),       \
        "objective=supervised: classes weigh alike in the loss, however many rows they have")      \
    REAL(BITS, supervised_smoothing, "supervised.smoothing", 0.0, 0.0, 1.0,                        \
        "objective=supervised: label smoothing, the share of a target spread over all classes")    \
    REAL(BITS, target_momentum, "target.momentum", 0.996, 0.0, 1.0,                                \
        "objective=byol, dino: decay of the average of weights that makes the targets, at first; " \
        "rises to 1 by a cosine")                                                                  \
    INT(BITS, batch_size, "batch.size", 256, 1, 1073741824, "samples of the global batch")         \
    INT(BITS, batch_lanes, "batch.lanes", 0, 0, 1073741824,                                        \
        "equal parts of the batch, the unit of computation; 0: 8 samples each")                    \
    REAL(BITS, optim_lr, "optim.lr", 0.0005, 0.0, 1.0e3, "peak learning rate")                     \
    REAL(BITS, optim_encoder_lr, "optim.encoder_lr", 1.0, 0.0, 1.0e3,                              \
        "learning rate of the encoder, in units of optim.lr; below 1 for fine-tuning, 0: frozen, " \
        "and in evaluation mode")                                                                  \
    REAL(BITS, optim_lr_floor, "optim.lr_floor", -1.0, -1.0, 1.0e3,                                \
        "learning rate at the end; -1: optim.lr / 1000")                                           \
    REAL(BITS, optim_weight_decay, "optim.weight_decay", -1.0, -1.0, 1.0e3,                        \
        "decoupled weight decay; -1: 0.0005 for a ResNet, 0.05 for other encoders")                \
    CHOICE(BITS, optim_decay_on, "optim.decay_on", LJ_OPTIM_DECAY_ON_ALL,                          \
        WORD(LJ_OPTIM_DECAY_ON_ALL, "all") WORD(LJ_OPTIM_DECAY_ON_MATRICES, "matrices"),           \
        "decayed parameters: all, or none of the biases, norms, tokens and positions")             \
    REAL(BITS, optim_beta1, "optim.beta1", 0.9, 0.0, 0.999999, "decay of the first moment")        \
    REAL(BITS, optim_beta2, "optim.beta2", 0.999, 0.0, 0.99999999, "decay of the second moment")   \
    REAL(BITS, optim_eps, "optim.eps", 1.0e-8, 0.0, 1.0, "added to the root of the second moment") \
    REAL(BITS, optim_clip, "optim.clip", 0.0, 0.0, 1.0e30,                                         \
        "largest gradient norm; 0: not clipped")                                                   \
    REAL(BITS, optim_warmup_epochs, "optim.warmup_epochs", 1.0, 0.0, 1.0e9,                        \
        "epochs of linear warm-up from 1 % of the peak")                                           \
    INT(BITS, train_steps, "train.steps", 0, 0, 1000000000000, "steps; 0: from train.epochs")      \
    REAL(BITS, train_epochs, "train.epochs", 100.0, 0.0, 1.0e9, "epochs, when train.steps is 0")   \
    REAL(BITS, train_average, "train.average", 0.0, 0.0, 0.9999999,                                \
        "decay of a running average of the weights, such as 0.999, which is evaluated and "        \
        "exported instead of the last ones; 0: none")                                              \
    INT(FREE, log_every, "log.every", 10, 0, 1000000000, "steps between lines of metrics.jsonl")   \
    CHOICE(FREE, log_tensorboard, "log.tensorboard", LJ_LOG_TENSORBOARD_FALSE,                     \
        WORD(LJ_LOG_TENSORBOARD_FALSE, "false") WORD(LJ_LOG_TENSORBOARD_TRUE, "true"),             \
        "also write an event file, which TensorBoard shows, to run.dir/tensorboard")               \
    INT(FREE, eval_every, "eval.every", 0, 0, 1000000000,                                          \
        "steps between evaluations; see eval.holdout; 0: none, but of training on the example "    \
        "archive without a word on it: 200, of test rows")                                         \
    TEXT(FREE, eval_archive, "eval.archive", "",                                                   \
        "archive of the evaluation; empty: data.archive")                                          \
    TEXT(FREE, eval_where, "eval.where", "",                                                       \
        "rows to evaluate, whose labels the kNN predicts; its bank: other rows of data.where")     \
    INT(BITS, eval_holdout, "eval.holdout", -1, -1, 1000000,                                       \
        "one row of so many is evaluated and does not train; 0: none; -1: 10 with eval.every "     \
        "where neither eval.where nor eval.archive says what to evaluate, else none")              \
    INT(FREE, eval_bank, "eval.bank", 10000, 1, 100000000,                                         \
        "rows of the kNN bank, spaced evenly over those it may have")                              \
    INT(FREE, eval_queries, "eval.queries", 10000, 1, 100000000,                                   \
        "rows to evaluate, spaced evenly over those of eval.where, the labelled ones if any are")  \
    INT(FREE, eval_layers, "eval.layers", 1, 1, 2,                                                 \
        "embeddings that are evaluated: 1: the encoder's; 2: features of its last two layers; see "\
        "layers of embed")                                                                         \
    INT(FREE, checkpoint_every, "checkpoint.every", 0, 0, 1000000000, "steps between checkpoints") \
    REAL(FREE, checkpoint_minutes, "checkpoint.minutes", 30.0, 0.0, 1.0e9,                         \
        "longest time without a checkpoint, whatever checkpoint.every says; 0: no such limit")     \
    INT(FREE, checkpoint_keep, "checkpoint.keep", 2, 1, 1000000, "good checkpoints kept")          \
    CHOICE(FREE, memory_recompute, "memory.recompute", LJ_MEMORY_RECOMPUTE_NONE,                   \
        WORD(LJ_MEMORY_RECOMPUTE_NONE, "none") WORD(LJ_MEMORY_RECOMPUTE_BLOCKS, "blocks")          \
        WORD(LJ_MEMORY_RECOMPUTE_LANES, "lanes"),                                                  \
        "forget activations and compute them again: never, between blocks, between lanes")         \
    INT(BITS, memory_tile, "memory.tile", 512, 0, 1000000000,                                      \
        "tokens that pass through a block at a time, to stay in cache; 0: a whole lane; changes "  \
        "bits")                                                                                    \
    INT(FREE, threads, "threads", 0, 0, 1024,                                                      \
        "OpenMP threads per rank; 0: OMP_NUM_THREADS, else 1")                                     \
    CHOICE(FREE, guard_nonfinite, "guard.nonfinite", LJ_GUARD_NONFINITE_STOP,                      \
        WORD(LJ_GUARD_NONFINITE_STOP, "stop") WORD(LJ_GUARD_NONFINITE_SKIP, "skip"),               \
        "what a step that is not finite does")                                                     \
    REAL(FREE, guard_collapse, "guard.collapse", 0.0, 0.0, 1.0e9,                                  \
        "stop when projections collapse: to one point, or to an effective rank below this; 0: "    \
        "only warn of the former")                                                                 \
    REAL(FREE, guard_stall_s, "guard.stall_s", 600.0, 0.0, 1.0e9,                                  \
        "seconds without progress (a lane, a chunk) after which the job ends; 0: never")           \
    TEXT(FREE, run_dir, "run.dir", "", "directory of the run; empty: runs/<date-time>")            \
    CHOICE(FREE, run_measure_peak, "run.measure_peak", LJ_RUN_MEASURE_PEAK_FALSE,                  \
        WORD(LJ_RUN_MEASURE_PEAK_FALSE, "false") WORD(LJ_RUN_MEASURE_PEAK_TRUE, "true"),           \
        "measure at the start what a product reaches here, in 0.2 s: the report gives shares of "  \
        "it")                                                                                      \
    REAL(FREE, run_max_seconds, "run.max_seconds", 0.0, 0.0, 1.0e9,                                \
        "wall-clock budget, in which the last checkpoint is written; exit 75 then; 0: none; the "  \
        "end of a Slurm job (SLURM_JOB_END_TIME) is one, too")                                     \
    TEXT(FREE, run_trace, "run.trace", "",                                                         \
        "file that is to be written at the end, for ui.perfetto.dev: what all ranks did when")

/* Arguments of single commands: same syntax, never part of config.yaml. */
#define LJ_COMMAND_KEYS(INT, REAL, PAIR, TEXT, CHOICE, WORD)                                       \
    TEXT(ARGUMENT, arg_out, "out", "",                                                             \
        "embed, inspect, views, pack, report, scale, export, import: file or directory to write")  \
    TEXT(ARGUMENT, arg_resume_change, "resume.change", "",                                         \
        "train, sweep: settings, separated by commas, that may differ from those of the "          \
        "checkpoint that the run continues from")                                                  \
    TEXT(ARGUMENT, arg_grad, "grad", "", "diagnose: file for d(loss)/d(proj)")                     \
    INT(ARGUMENT, arg_slices, "slices", 3, 0, 1000,                                                \
        "diagnose: so many of the worst slices are shown: direction, histogram, rows at the ends") \
    INT(ARGUMENT, arg_json, "json", 0, 0, 1,                                                       \
        "probe, diagnose, rank, scale, sweep, inspect: 1: one JSON object on standard output")     \
    REAL(ARGUMENT, arg_alpha, "alpha", 0.4, 0.0, 10.0,                                             \
        "rank, sweep: runs are ordered by loss / lambda^alpha")                                    \
    INT(ARGUMENT, arg_force, "force", 0, 0, 1,                                                     \
        "rank, sweep: 1: order runs whose losses do not compare, too")                             \
    TEXT(ARGUMENT, arg_grid, "grid", "",                                                           \
        "sweep: KEY=VALUE|VALUE;KEY=VALUE|...; in a YAML file a mapping of lists")                 \
    TEXT(ARGUMENT, arg_ranks, "ranks", "",                                                         \
        "sweep, scale: ranks of each run of a sweep (0: as few as make as many runs at once as "   \
        "there are); of the rungs of scale, such as 1,2,4 (empty: powers of two, and all ranks)")  \
    CHOICE(ARGUMENT, arg_mode, "mode", LJ_ARG_MODE_BOTH,                                           \
        WORD(LJ_ARG_MODE_BOTH, "both") WORD(LJ_ARG_MODE_WEAK, "weak")                              \
        WORD(LJ_ARG_MODE_STRONG, "strong"),                                                        \
        "scale: weak: the lanes of a rank stay the same; strong: batch.size does; both")           \
    INT(ARGUMENT, arg_repeats, "repeats", 5, 5, 100, "scale: times that each rung is measured")    \
    INT(ARGUMENT, arg_steps, "steps", 10, 1, 1000000, "scale: steps of each repeat")               \
    INT(ARGUMENT, arg_warmup, "warmup", 3, 2, 1000000,                                             \
        "scale: steps of each rung before it is measured; the first two tell its bits")            \
    TEXT(ARGUMENT, arg_predict, "predict", "",                                                     \
        "scale: numbers of ranks, such as 1024,4096, for which a model of machine and network "    \
        "predicts a step")                                                                         \
    CHOICE(ARGUMENT, arg_probe, "probe", LJ_ARG_PROBE_NONE,                                        \
        WORD(LJ_ARG_PROBE_NONE, "none") WORD(LJ_ARG_PROBE_NET, "net"),                             \
        "scale: net: measures the links between the ranks, and nothing else")                      \
    TEXT(ARGUMENT, arg_target, "target", "",                                                       \
        "scale: knn:0.80: also trains, on each number of ranks, until kNN reaches this accuracy")  \
    TEXT(ARGUMENT, arg_objectives, "objectives", "",                                               \
        "scale: all, or some, such as lejepa,vicreg: compares objectives on all ranks of the job " \
        "instead of numbers of ranks; with eval.every, trains each and compares kNN, too")         \
    TEXT(ARGUMENT, arg_train, "train", "", "probe: embedding file the probes are fitted on")       \
    TEXT(ARGUMENT, arg_test, "test", "", "probe: embedding file that is predicted")                \
    TEXT(ARGUMENT, arg_checkpoint, "checkpoint", "",                                               \
        "embed, export: checkpoint file or run directory")                                         \
    TEXT(ARGUMENT, arg_weights, "weights", "",                                                     \
        "import, embed, export: import: safetensors file; embed, export: average or last, of the " \
        "checkpoint; empty: the average where there is one")                                       \
    TEXT(ARGUMENT, arg_mean, "mean", "",                                                           \
        "import: mean of each channel, in 0..1 as timm has it, such as 0.485,0.456,0.406; else "   \
        "the file's, or the archive's")                                                            \
    TEXT(ARGUMENT, arg_std, "std", "", "import: standard deviation of each channel, with mean=")   \
    TEXT(ARGUMENT, arg_init, "init", "",                                                           \
        "train, sweep: safetensors file, checkpoint or run directory with the weights to start "   \
        "from")                                                                                    \
    INT(ARGUMENT, arg_rows, "rows", 8, 1, 256, "views: samples that are shown")                    \
    INT(ARGUMENT, arg_step, "step", 0, 0, 1000000000000,                                           \
        "views: the step of training whose samples are shown")                                     \
    INT(ARGUMENT, arg_sample, "sample", 2000, 0, 20000,                                            \
        "report: rows that the newest checkpoint embeds, at most, spaced evenly; 0: none")         \
    TEXT(ARGUMENT, arg_channels, "channels", "",                                                   \
        "views: one channel, from 0 on, in grey; three as red, green, blue: 3,2,1; all: each by "  \
        "itself; empty: the first three, or the first")                                            \
    TEXT(ARGUMENT, arg_parts, "parts", "",                                                         \
        "pack: IMAGES,LABELS,SPLIT,COUNT for each part, parts separated by `;`; COUNT 0: all")     \
    INT(ARGUMENT, arg_balanced, "balanced", 0, 0, 1,                                               \
        "pack: 1: the same number of samples of every class")                                      \
    TEXT(ARGUMENT, arg_licence, "licence", "",                                                     \
        "pack: text file whose contents are stored as attribute licence")                          \
    CHOICE(ARGUMENT, arg_overlap, "overlap", LJ_ARG_OVERLAP_REFUSE,                                \
        WORD(LJ_ARG_OVERLAP_REFUSE, "refuse") WORD(LJ_ARG_OVERLAP_ALLOW, "allow"),                 \
        "probe: test rows that are training rows, too")                                            \
    INT(ARGUMENT, arg_confusion, "confusion", 0, 0, 1,                                             \
        "probe: 1: which classes are taken for which, too")                                        \
    TEXT(ARGUMENT, arg_fewshot, "fewshot", "",                                                     \
        "probe: accuracy from so many labels a class, such as 1,2,5,10,100; 5 draws of each")      \
    TEXT(ARGUMENT, arg_l2, "l2", "0.001",                                                          \
        "probe: L2 strength of the linear probe; auto: the best on a tenth of the training rows")  \
    INT(ARGUMENT, arg_layers, "layers", 1, 1, 2,                                                   \
        "embed, report: 1: the encoder's embedding; 2: features of its last two layers (blocks of "\
        "a ViT, else stages) side by side, without model.head")                                    \
    CHOICE(ARGUMENT, arg_features, "features", LJ_ARG_FEATURES_MODEL,                              \
        WORD(LJ_ARG_FEATURES_MODEL, "model") WORD(LJ_ARG_FEATURES_UNTRAINED, "untrained")          \
        WORD(LJ_ARG_FEATURES_PIXELS, "pixels") WORD(LJ_ARG_FEATURES_PROJECTION, "projection"),     \
        "embed: the checkpoint's encoder, the same encoder untrained, raw pixels, or projections " \
        "of random views as in training")

/* The CHOICE rows of both tables, the others left out. */
#define LJ_CHOICE_KEYS(CHOICE, WORD)                                                               \
    LJ_CONFIG_KEYS(LJ_NO_ROW, LJ_NO_ROW, LJ_NO_ROW, LJ_NO_ROW, CHOICE, WORD)                       \
    LJ_COMMAND_KEYS(LJ_NO_ROW, LJ_NO_ROW, LJ_NO_ROW, LJ_NO_ROW, CHOICE, WORD)
#define LJ_NO_ROW(...)
/* clang-format on */
