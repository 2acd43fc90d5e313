/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz-input.h: a fuzzer's bytes, taken piece by piece. */
#ifndef TEST_FUZZ_INPUT_H
#define TEST_FUZZ_INPUT_H

#include <glib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

typedef struct FuzzInput {
    const guint8 *data;
    gsize left;
} FuzzInput;

static inline void fuzz_on_trap(int signal_number)
{
    (void)signal_number;
    abort();
}

/**
 * Lets g_error() leave the input behind: it raises SIGTRAP, of which libFuzzer
 * knows nothing.
 */
static inline void fuzz_keep_input(void)
{
    signal(SIGTRAP, fuzz_on_trap);
}

/** All that is left, at most @bytes; the rest of @to is zero. */
static inline gsize fuzz_take(FuzzInput *input, void *to, gsize bytes)
{
    gsize n = MIN(bytes, input->left);

    memset(to, 0, bytes);
    memcpy(to, input->data, n);
    input->data += n;
    input->left -= n;
    return n;
}

static inline guint8 fuzz_byte(FuzzInput *input)
{
    guint8 byte;

    fuzz_take(input, &byte, 1);
    return byte;
}

/** Any number, mostly a small one. */
static inline guint32 fuzz_number(FuzzInput *input)
{
    guint8 first = fuzz_byte(input);
    guint32 number;

    if (first < 0xf0) {
        return first;
    }
    fuzz_take(input, &number, first < 0xf8 ? 2 : 4);
    return number;
}

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#endif /* TEST_FUZZ_INPUT_H */
