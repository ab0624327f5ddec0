#include "net/address.h"

#include <errno.h>
#include <netinet/in.h>
#include <plait/error.h>
#include <sys/un.h>

#include "tests/check.h"

static const size_t path_at = offsetof(struct sockaddr_un, sun_path);

static pl_address parsed(const char *text, uint16_t port)
{
    pl_address address;

    PL_EQ(pl_address_parse(text, port, &address), 0);
    return address;
}

static const char *shown(const pl_address *address)
{
    static char text[PL_ADDRESS_TEXT];

    return pl_address_format(address, text, sizeof text);
}

static int from_unix(const char *path, size_t len, pl_address *ret)
{
    struct sockaddr_un from = {.sun_family = AF_UNIX};

    memcpy(from.sun_path, path, len);
    return pli_address_from_sockaddr((const void *) &from, (socklen_t) (path_at + len), ret);
}

PL_TEST(an_address_shows_as_it_was_written)
{
    static const struct {
        const char *text, *shown;
    } rows[] = {
        {"127.0.0.1", "127.0.0.1:80"},
        {"0.0.0.0", "0.0.0.0:80"},
        {"255.255.255.255", "255.255.255.255:80"},
        {"::1", "[::1]:80"},
        {"::", "[::]:80"},
        {"2001:DB8:0:0::7", "[2001:db8::7]:80"},
        {"::ffff:10.1.2.3", "10.1.2.3:80"},
        {"fe80::1%lo", "[fe80::1%lo]:80"},
        {"fe80::1%4294967295", "[fe80::1%4294967295]:80"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pl_address address = parsed(rows[i].text, 80);

        PL_STR_EQ(shown(&address), rows[i].shown);
    }
}

PL_TEST(what_is_no_numeric_address_is_refused_and_leaves_the_result_alone)
{
    static const char *const bad[] = {
        "",
        "localhost",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "1.2.3.4:80",
        " 1.2.3.4",
        "1.2.3.4 ",
        "[::1]",
        ":::",
        "1:2:3:4:5:6:7",
        "g::",
        "::1%",
        "%lo",
        "1.2.3.4%lo",
        "::ffff:1.2.3.4%lo",
        "fe80::1%0",
        "fe80::1%4294967297",
        "fe80::1%no_such_interf",
        "fe80::1%99999999999999999999",
        "::1%lo%lo",
        "0x7f.0.0.1",
        "127.1",
        "1111111111111111111111111111111111111111111111111111111111111111111111111111111111111111",
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        pl_address address = {.family = PL_UNIX, .port = 7};

        if (pl_address_parse(bad[i], 80, &address) != PL_E_SYNTAX || address.port != 7)
            check_fail(__FILE__, __LINE__, "\"%s\" was taken", bad[i]);
    }
}

PL_TEST(the_family_of_a_text_does_not_depend_on_the_machine)
{
    PL_EQ(pli_address_text_family("1.2.3.4"), PL_IPV4);
    PL_EQ(pli_address_text_family("fe80::1%nosuchif0"), PL_IPV6);
    PL_EQ(pli_address_text_family("fe80::1%"), PL_NO_ADDRESS);
    PL_EQ(pli_address_text_family("localhost"), PL_NO_ADDRESS);
}

PL_TEST(ip_addresses_survive_the_way_to_the_kernel_and_back)
{
    static const char *const texts[] = {"127.0.0.1", "::1", "fe80::1%lo", "2001:db8::7"};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        for (int as_ipv6 = 0; as_ipv6 < 2; as_ipv6++) {
            pl_address before = parsed(texts[i], 8080), after;
            struct sockaddr_storage kernel;
            socklen_t size;

            PL_EQ(pli_address_to_sockaddr(&before, as_ipv6, &kernel, &size), 0);
            PL_EQ(pli_address_from_sockaddr((const void *) &kernel, size, &after), 0);
            PL_CHECK(pl_address_equal(&before, &after));
        }
    }
}

PL_TEST(an_ipv4_address_is_mapped_for_a_dual_stack_socket)
{
    pl_address address = parsed("10.1.2.3", 258);
    struct sockaddr_storage kernel;
    struct sockaddr_in6 *in6 = (void *) &kernel;
    socklen_t size;

    PL_EQ(pli_address_to_sockaddr(&address, true, &kernel, &size), 0);
    PL_EQ(size, sizeof *in6);
    PL_EQ(in6->sin6_family, AF_INET6);
    PL_EQ(ntohs(in6->sin6_port), 258);
    PL_EQ(memcmp(&in6->sin6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x01\x02\x03", 16), 0);
}

PL_TEST(unix_paths_survive_the_way_to_the_kernel_and_back)
{
    static const struct {
        const char *path;
        size_t len;
        const char *shown;
        socklen_t kernel_len; /* of the path alone */
    } rows[] = {
        {"/run/x.sock", 11, "unix:/run/x.sock", 12},
        {"/run/x.sock\0junk", 16, "unix:/run/x.sock", 12},
        {"\0weblog", 7, "unix:@weblog", 7},
        {"\0web\0log", 8, "unix:@web@log", 8},
        {"\0", 1, "unix:@", 1},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pl_address address, again;
        struct sockaddr_storage kernel;
        socklen_t size;

        PL_EQ(from_unix(rows[i].path, rows[i].len, &address), 0);
        PL_STR_EQ(shown(&address), rows[i].shown);
        PL_EQ(pli_address_to_sockaddr(&address, true, &kernel, &size), 0);
        PL_EQ(size, path_at + rows[i].kernel_len);
        PL_EQ(pli_address_from_sockaddr((const void *) &kernel, size, &again), 0);
        PL_CHECK(pl_address_equal(&address, &again));
    }
}

PL_TEST(the_longest_path_fits_and_a_longer_one_is_refused)
{
    char path[108];
    pl_address address = {.family = PL_IPV4};

    memset(path, 'p', sizeof path);
    PL_EQ(from_unix(path, 108, &address), PL_E_LIMIT);
    PL_EQ(address.family, PL_IPV4);
    PL_EQ(from_unix(path, 107, &address), 0);
    PL_EQ(address.path_len, 107);
    PL_EQ(strlen(shown(&address)), 5 + 107);
    path[0] = '\0';
    PL_EQ(from_unix(path, 107, &address), 0);
    PL_EQ(from_unix(path, 108, &address), PL_E_LIMIT);
}

PL_TEST(a_size_that_counts_a_nul_which_did_not_fit_reads_no_further_than_the_path)
{
    struct sockaddr_un *from = malloc(sizeof *from);
    pl_address address;

    memset(from, 'p', sizeof *from);
    from->sun_family = AF_UNIX;
    PL_EQ(pli_address_from_sockaddr((const void *) from, sizeof *from + 1, &address), PL_E_LIMIT);
    free(from);
}

PL_TEST(an_unnamed_unix_socket_is_unknown)
{
    pl_address address;
    struct sockaddr_storage kernel;
    socklen_t size;

    PL_EQ(from_unix("", 0, &address), 0);
    PL_EQ(address.family, PL_NO_ADDRESS);
    PL_STR_EQ(shown(&address), "unknown");
    PL_EQ(pli_address_to_sockaddr(&address, false, &kernel, &size), -EAFNOSUPPORT);
    PL_EQ(pli_address_from_sockaddr((const void *) &kernel, 0, &address), 0);
    PL_EQ(address.family, PL_NO_ADDRESS);
}

PL_TEST(a_short_or_foreign_sockaddr_is_refused)
{
    struct sockaddr_storage from = {.ss_family = AF_INET};
    pl_address address;

    PL_EQ(pli_address_from_sockaddr((const void *) &from, 1, &address), -EINVAL);
    PL_EQ(pli_address_from_sockaddr((const void *) &from, sizeof(struct sockaddr_in) - 1, &address),
          -EINVAL);
    from.ss_family = AF_INET6;
    PL_EQ(pli_address_from_sockaddr((const void *) &from, sizeof(struct sockaddr_in), &address),
          -EINVAL);
    from.ss_family = AF_NETLINK;
    PL_EQ(pli_address_from_sockaddr((const void *) &from, sizeof from, &address), -EAFNOSUPPORT);
}

PL_TEST(equality_looks_at_family_port_zone_and_every_byte)
{
    static const char *const texts[] = {"1.2.3.4", "1.2.3.5",   "::1",
                                        "::2",     "fe80::1%1", "fe80::1%2"};
    size_t n = sizeof texts / sizeof texts[0];

    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < n; k++) {
            pl_address a = parsed(texts[i], 1), b = parsed(texts[k], 1), c = parsed(texts[k], 2);

            PL_EQ(pl_address_equal(&a, &b), i == k);
            PL_CHECK(!pl_address_equal(&a, &c));
        }
    }
}

PL_TEST(unix_addresses_of_one_prefix_differ)
{
    pl_address a, b, c;

    PL_EQ(from_unix("\0a", 2, &a), 0);
    PL_EQ(from_unix("\0a\0", 3, &b), 0);
    PL_EQ(from_unix("\0b", 2, &c), 0);
    PL_CHECK(pl_address_equal(&a, &a));
    PL_CHECK(!pl_address_equal(&a, &b));
    PL_CHECK(!pl_address_equal(&a, &c));
}

PL_TEST(a_text_that_does_not_fit_is_cut_and_ends_in_nul)
{
    pl_address address = parsed("127.0.0.1", 8080);
    char text[6];

    PL_STR_EQ(pl_address_format(&address, text, sizeof text), "127.0");
    PL_STR_EQ(pl_address_format(&address, text, 1), "");
}

PL_TEST_MAIN
