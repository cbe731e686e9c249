/* SPDX-License-Identifier: Apache-2.0 */
/* The table of encoders. */
#include "models/encoders.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct lj_encoder table[] = {
    {"vit_tiny", "ViT-Ti", &lj_family_vit, {192, 12, 3}},
    {"vit_small", "ViT-S", &lj_family_vit, {384, 12, 6}},
    {"vit_base", "ViT-B", &lj_family_vit, {768, 12, 12}},
    {"vit_large", "ViT-L", &lj_family_vit, {1024, 24, 16}},
    {"vit_huge", "ViT-H", &lj_family_vit, {1280, 32, 16}},
    {"vit_giant", "ViT-g", &lj_family_vit, {1408, 40, 16, 6144}},
    {"vit_gigantic", "ViT-G", &lj_family_vit, {1664, 48, 16, 8192}},
    {"vit", "free model.width, model.depth and model.heads", &lj_family_vit, {192, 12, 0}},
    {"resnet18", "ResNet-18", &lj_family_resnet, {64, 0, 2, 2, 2, 2}},
    {"resnet34", "ResNet-34", &lj_family_resnet, {64, 0, 3, 4, 6, 3}},
    {"resnet50", "ResNet-50", &lj_family_resnet, {64, 1, 3, 4, 6, 3}},
    {"resnet101", "ResNet-101", &lj_family_resnet, {64, 1, 3, 4, 23, 3}},
    {"resnet152", "ResNet-152", &lj_family_resnet, {64, 1, 3, 8, 36, 3}},
    {"resnet", "free model.width and model.depth", &lj_family_resnet, {32, 0, 2, 2, 2, 2}},
    {"convnextv2_atto", "ConvNeXt-V2-A", &lj_family_convnextv2, {40, 1, 2, 2, 6, 2}},
    {"convnextv2_femto", "ConvNeXt-V2-F", &lj_family_convnextv2, {48, 1, 2, 2, 6, 2}},
    {"convnextv2_pico", "ConvNeXt-V2-P", &lj_family_convnextv2, {64, 1, 2, 2, 6, 2}},
    {"convnextv2_nano", "ConvNeXt-V2-N", &lj_family_convnextv2, {80, 1, 2, 2, 8, 2}},
    {"convnextv2_tiny", "ConvNeXt-V2-T", &lj_family_convnextv2, {96, 0, 3, 3, 9, 3}},
    {"convnextv2_base", "ConvNeXt-V2-B", &lj_family_convnextv2, {128, 0, 3, 3, 27, 3}},
    {"convnextv2_large", "ConvNeXt-V2-L", &lj_family_convnextv2, {192, 0, 3, 3, 27, 3}},
    {"convnextv2_huge", "ConvNeXt-V2-H", &lj_family_convnextv2, {352, 0, 3, 3, 27, 3}},
    {"convnextv2", "free model.width and model.depth", &lj_family_convnextv2, {40, 0, 2, 2, 2, 2}},
};
enum { ROWS = sizeof table / sizeof *table };

static const struct lj_encoder *tried;

const struct lj_encoder *lj_encoders(int *count)
{
    *count = ROWS;
    return table;
}

void lj_encoder_try(const struct lj_encoder *row)
{
    tried = row;
}

static int unknown(const char *name)
{
    char known[1024] = "";
    size_t at = 0;
    for (int i = 0; i < ROWS && at < sizeof known; i++)
        at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "", table[i].name);
    return lj_fail(LJ_ERR_CONFIG,
                   "model: there is no encoder '%.64s'; expected one of %s; "
                   "`lejepa_mpi help model` tells what they are",
                   name, known);
}

int lj_encoder_find(const char *name, const struct lj_encoder **encoder)
{
    *encoder = tried && strcmp(name, tried->name) == 0 ? tried : NULL;
    for (int i = 0; i < ROWS && !*encoder; i++)
        if (strcmp(table[i].name, name) == 0)
            *encoder = &table[i];
    return *encoder ? LJ_OK : unknown(name);
}

int64_t lj_automatic_local_size(int64_t global_size, int64_t multiple)
{
    int64_t times = llround((double)global_size * 3 / 7 / (double)multiple);
    return multiple * lj_max_i64(times, 2);
}
