/* SPDX-License-Identifier: Apache-2.0 */
/* Private to comm: what the files of the network share. The functions for other modules are in
 * comm.h.
 *
 *     measure.c   times links and sums on the ranks there are
 *     fit.c       a model from these times
 *     traffic.c   the messages of a step, on any number of ranks
 *     cost.c      the seconds of a step's lines of the ledger */
#ifndef LEJEPA_COMM_NETWORK_H
#define LEJEPA_COMM_NETWORK_H

#include "comm/comm.h"

/* Messages that a rank sends while it receives as many, without the time of the first; 0 for none.
 * fit.c. */
double lj_network_exchange_s(const struct lj_link *link, int64_t messages, int64_t bytes);

#endif
