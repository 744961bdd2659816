/*
 * tls.c - credentials of servers and channels from PEM files.
 *
 * A server looks at its files' times with each handshake and reads them again when one changed, so
 * a renewed certificate needs no restart.  A change that cannot be read is logged and the old one
 * stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/rpc/internal.h"

enum { PEM_BYTES_MAX = 1 << 20 };

struct wr_tls_files {
    char *certificate;
    char *key;
    char *client_ca; /* or NULL */
    pthread_mutex_t lock;
    struct timespec read_at; /* the newest of the three files' times */
};

/* The whole file with a NUL, to be freed by weir_free. */
static weir_code
read_file(const char *path, char **ret_text, weir_error *reterr)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text;
    ssize_t size;

    if (fd < 0)
        return weir_error_set(reterr, WEIR_CONFIG_INVALID, "cannot read %s: %s", path,
            strerror(errno));
    text = weir_alloc(PEM_BYTES_MAX + 1);
    size = read(fd, text, PEM_BYTES_MAX + 1);
    close(fd);
    if (size <= 0 || size > PEM_BYTES_MAX) {
        weir_free(text);
        return weir_error_set(reterr, WEIR_CONFIG_INVALID,
            "%s is empty, no file or larger than %d bytes", path, PEM_BYTES_MAX);
    }
    text[size] = '\0';
    *ret_text = text;
    return WEIR_OK;
}

typedef struct pem_set {
    char *certificate;
    char *key;
    char *ca;
} pem_set;

static void
pem_set_fini(pem_set *set)
{
    weir_free(set->certificate);
    weir_free(set->key);
    weir_free(set->ca);
    *set = (pem_set){ 0 };
}

/* Each path may be NULL. */
static weir_code
pem_set_read(const char *certificate, const char *key, const char *ca, pem_set *ret_set,
    weir_error *reterr)
{
    pem_set set = { 0 };
    weir_code code = WEIR_OK;

    if ((certificate == NULL) != (key == NULL))
        return weir_error_set(reterr, WEIR_CONFIG_INVALID,
            "a TLS certificate and its key go together");
    if (certificate != NULL)
        code = read_file(certificate, &set.certificate, reterr);
    if (code == WEIR_OK && key != NULL)
        code = read_file(key, &set.key, reterr);
    if (code == WEIR_OK && ca != NULL)
        code = read_file(ca, &set.ca, reterr);
    if (code != WEIR_OK) {
        pem_set_fini(&set);
        return code;
    }
    *ret_set = set;
    return WEIR_OK;
}

static bool
is_later(struct timespec a, struct timespec b)
{
    return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}

static struct timespec
newest_change(const wr_tls_files *files)
{
    const char *paths[] = { files->certificate, files->key, files->client_ca };
    struct timespec newest = { 0 };

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct stat status;

        if (paths[i] != NULL && stat(paths[i], &status) == 0 && is_later(status.st_ctim, newest))
            newest = status.st_ctim;
    }
    return newest;
}

weir_code
wr_tls_files_open(const char *certificate, const char *key, const char *client_ca,
    wr_tls_files **ret_files, weir_error *reterr)
{
    pem_set set;
    weir_code code;

    *ret_files = NULL;
    if (certificate == NULL && key == NULL && client_ca != NULL)
        return weir_error_set(reterr, WEIR_CONFIG_INVALID,
            "a client CA needs a server certificate and key");
    code = pem_set_read(certificate, key, client_ca, &set, reterr);
    if (code != WEIR_OK || certificate == NULL)
        return code;
    pem_set_fini(&set);

    wr_tls_files *files = weir_alloc_zero(1, sizeof *files);

    files->certificate = weir_strdup(certificate);
    files->key = weir_strdup(key);
    files->client_ca = client_ca == NULL ? NULL : weir_strdup(client_ca);
    pthread_mutex_init(&files->lock, NULL);
    *ret_files = files;
    return WEIR_OK;
}

void
wr_tls_files_close(wr_tls_files **files_p)
{
    wr_tls_files *files = *files_p;

    if (files == NULL)
        return;
    weir_free(files->certificate);
    weir_free(files->key);
    weir_free(files->client_ca);
    pthread_mutex_destroy(&files->lock);
    weir_free(files);
    *files_p = NULL;
}

static grpc_ssl_certificate_config_reload_status
fetch(wr_tls_files *files, grpc_ssl_server_certificate_config **config)
{
    const struct timespec changed = newest_change(files);
    pem_set set;
    weir_error error;

    if (!is_later(changed, files->read_at))
        return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    if (pem_set_read(files->certificate, files->key, files->client_ca, &set, &error) != WEIR_OK) {
        weir_log(WEIR_LOG_ERROR, "rpc.certificate_unreadable", WEIR_STR("message", error.message));
        return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
    }

    const grpc_ssl_pem_key_cert_pair pair = { .private_key = set.key,
        .cert_chain = set.certificate };

    /* The core asserts that there are roots, even where no client certificate is asked for. */
    *config = grpc_ssl_server_certificate_config_create(set.ca == NULL ? set.certificate : set.ca,
        &pair, 1);
    pem_set_fini(&set);
    files->read_at = changed;
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

static grpc_ssl_certificate_config_reload_status
fetch_locked(void *argument, grpc_ssl_server_certificate_config **config)
{
    wr_tls_files *files = argument;
    grpc_ssl_certificate_config_reload_status status;

    pthread_mutex_lock(&files->lock);
    status = fetch(files, config);
    pthread_mutex_unlock(&files->lock);
    return status;
}

grpc_server_credentials *
wr_tls_server_credentials(wr_tls_files *files)
{
    if (files == NULL)
        return grpc_insecure_server_credentials_create();
    pthread_mutex_lock(&files->lock);
    files->read_at = (struct timespec){ 0 }; /* each listener fetches its first one */
    pthread_mutex_unlock(&files->lock);
    return grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(files->client_ca == NULL
                ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY,
            fetch_locked, files));
}

weir_code
wr_tls_channel_credentials(const weir_rpc_channel_options *options,
    grpc_channel_credentials **ret_credentials, weir_error *reterr)
{
    pem_set set;
    weir_code code;

    if (!options->tls) {
        *ret_credentials = grpc_insecure_credentials_create();
        return WEIR_OK;
    }
    code = pem_set_read(options->tls_certificate_file, options->tls_key_file, options->tls_ca_file,
        &set, reterr);
    if (code != WEIR_OK)
        return code;

    grpc_ssl_pem_key_cert_pair pair = { .private_key = set.key, .cert_chain = set.certificate };

    *ret_credentials =
        grpc_ssl_credentials_create_ex(set.ca, set.key == NULL ? NULL : &pair, NULL, NULL);
    pem_set_fini(&set);
    if (*ret_credentials == NULL)
        return weir_error_set(reterr, WEIR_CONFIG_INVALID, "the TLS files are not PEM");
    return WEIR_OK;
}
