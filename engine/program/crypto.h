/* Hashes and signatures, by OpenSSL; the only file that includes it. All texts are lower-case hex
 * with a zero behind. */
#ifndef ENGINE_PROGRAM_CRYPTO_H
#define ENGINE_PROGRAM_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

enum {
    PROG_SHA256_TEXT = 65,    /* with the zero */
    PROG_KEY_TEXT = 65,       /* of an ed25519 key, public or private (its seed) */
    PROG_SIGNATURE_TEXT = 129,
};

enum err prog_crypto_sha256(const void *data, size_t bytes, char out[PROG_SHA256_TEXT],
                            struct report *report) ERR_MUST_USE;
/* A new ed25519 pair. */
enum err prog_crypto_keygen(char secret[PROG_KEY_TEXT], char public_[PROG_KEY_TEXT],
                            struct report *report) ERR_MUST_USE;
/* The public key of a private one. ERR_INVALID when it is none. */
enum err prog_crypto_public(const char *secret, char public_[PROG_KEY_TEXT],
                            struct report *report) ERR_MUST_USE;
enum err prog_crypto_sign(const char *secret, const void *message, size_t bytes,
                          char out[PROG_SIGNATURE_TEXT], struct report *report) ERR_MUST_USE;
/* True when the signature is the key's for this message; false also for texts that are no key. */
bool prog_crypto_verify(const char *public_, const void *message, size_t bytes,
                        const char *signature);
/* True for texts of `bytes` bytes in hex. */
bool prog_crypto_is_hex(const char *text, size_t bytes);
/* Equality without telling by time how much of it was equal. */
bool prog_crypto_equal(const char *a, const char *b);
/* `bytes` random bytes as hex, 2 * bytes + 1 characters. */
enum err prog_crypto_random(size_t bytes, char *out, struct report *report) ERR_MUST_USE;

#endif
