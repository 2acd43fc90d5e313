/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz-world.h: one broker for all inputs, without its program. */
#ifndef TEST_FUZZ_WORLD_H
#define TEST_FUZZ_WORLD_H

#include "broker.h"

/** The broker, with a control socket; made at the first call. */
KsmBroker *fuzz_world(void);

/** Runs the main loop until nothing is to be done at once. */
void fuzz_world_run(void);

/** This process has ended, for the broker; it is empty when this returns. */
void fuzz_world_clear(void);

#endif /* TEST_FUZZ_WORLD_H */
