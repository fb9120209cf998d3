#include "engine/program/crypto.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

enum { KEY_BYTES = 32, SIGNATURE_BYTES = 64, SHA256_BYTES = 32 };

static void put_hex(const uint8_t *data, size_t bytes, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes; i++) {
        out[2 * i] = digits[data[i] >> 4];
        out[2 * i + 1] = digits[data[i] & 15];
    }
    out[2 * bytes] = 0;
}

static int digit_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool prog_crypto_is_hex(const char *text, size_t bytes)
{
    for (size_t i = 0; i < 2 * bytes; i++)
        if (digit_value(text[i]) < 0)
            return false;
    return text[2 * bytes] == 0;
}

static bool take_hex(const char *text, size_t bytes, uint8_t *out)
{
    if (!prog_crypto_is_hex(text, bytes))
        return false;
    for (size_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)(digit_value(text[2 * i]) << 4 | digit_value(text[2 * i + 1]));
    return true;
}

static enum err fail(struct report *report, const char *what)
{
    return err_set(report, ERR_IO, "OpenSSL could not %s", what);
}

enum err prog_crypto_sha256(const void *data, size_t bytes, char out[PROG_SHA256_TEXT],
                            struct report *report)
{
    uint8_t hash[SHA256_BYTES];
    unsigned hash_bytes;
    if (EVP_Digest(data, bytes, hash, &hash_bytes, EVP_sha256(), NULL) != 1)
        return fail(report, "hash");
    put_hex(hash, sizeof hash, out);
    return ERR_OK;
}

enum err prog_crypto_random(size_t bytes, char *out, struct report *report)
{
    uint8_t random[64];
    if (bytes > sizeof random || RAND_bytes(random, (int)bytes) != 1)
        return fail(report, "make random numbers");
    put_hex(random, bytes, out);
    OPENSSL_cleanse(random, sizeof random);
    return ERR_OK;
}

static EVP_PKEY *secret_key(const char *secret)
{
    uint8_t seed[KEY_BYTES];
    if (!take_hex(secret, sizeof seed, seed))
        return NULL;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof seed);
    OPENSSL_cleanse(seed, sizeof seed);
    return key;
}

enum err prog_crypto_public(const char *secret, char public_[PROG_KEY_TEXT], struct report *report)
{
    uint8_t raw[KEY_BYTES];
    size_t raw_bytes = sizeof raw;
    EVP_PKEY *key = secret_key(secret);
    bool ok = key && EVP_PKEY_get_raw_public_key(key, raw, &raw_bytes) == 1;
    EVP_PKEY_free(key);
    if (!ok)
        return err_set(report, ERR_INVALID,
                       "this is no private key: expected 64 hexadecimal digits");
    put_hex(raw, sizeof raw, public_);
    return ERR_OK;
}

enum err prog_crypto_keygen(char secret[PROG_KEY_TEXT], char public_[PROG_KEY_TEXT],
                            struct report *report)
{
    enum err err = prog_crypto_random(KEY_BYTES, secret, report);
    return err ? err : prog_crypto_public(secret, public_, report);
}

enum err prog_crypto_sign(const char *secret, const void *message, size_t bytes,
                          char out[PROG_SIGNATURE_TEXT], struct report *report)
{
    uint8_t signature[SIGNATURE_BYTES];
    size_t signature_bytes = sizeof signature;
    EVP_PKEY *key = secret_key(secret);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = key && ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1 &&
              EVP_DigestSign(ctx, signature, &signature_bytes, message, bytes) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    if (!ok)
        return fail(report, "sign; is the private key 64 hexadecimal digits?");
    put_hex(signature, sizeof signature, out);
    return ERR_OK;
}

bool prog_crypto_verify(const char *public_, const void *message, size_t bytes,
                        const char *signature)
{
    uint8_t raw[KEY_BYTES], raw_signature[SIGNATURE_BYTES];
    if (!take_hex(public_, sizeof raw, raw) ||
        !take_hex(signature, sizeof raw_signature, raw_signature))
        return false;
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, raw, sizeof raw);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = key && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
              EVP_DigestVerify(ctx, raw_signature, sizeof raw_signature, message, bytes) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return ok;
}

bool prog_crypto_equal(const char *a, const char *b)
{
    size_t bytes = strlen(a);
    return strlen(b) == bytes && CRYPTO_memcmp(a, b, bytes) == 0;
}
