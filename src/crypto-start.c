/*
 * OpenSSL asks the processor for its abilities in a constructor, before main(). In a virtual machine each of these
 * questions leaves the guest, and together they are 6 % of the time of `xenkit --version`. The static file is linked
 * with --wrap, so that they are asked when OpenSSL is first used; asking again does nothing (OpenSSL remembers).
 */
#include <openssl/crypto.h>

void __real_OPENSSL_cpuid_setup(void);
void __wrap_OPENSSL_cpuid_setup(void);
int __real_OPENSSL_init_crypto(uint64_t options, const OPENSSL_INIT_SETTINGS *settings);
int __wrap_OPENSSL_init_crypto(uint64_t options, const OPENSSL_INIT_SETTINGS *settings);

void __wrap_OPENSSL_cpuid_setup(void)
{
}

int __wrap_OPENSSL_init_crypto(uint64_t options, const OPENSSL_INIT_SETTINGS *settings)
{
    __real_OPENSSL_cpuid_setup();
    return __real_OPENSSL_init_crypto(options, settings);
}
