#include <plait/endpoint.h>

#include "tests/check.h"

typedef int parse_fn(const char *text, pl_endpoint *ret_endpoint, pl_endpoint_error *reterr_error);

static pl_endpoint parsed(parse_fn *parse, const char *text)
{
    pl_endpoint endpoint;
    pl_endpoint_error error = {0};

    if (parse(text, &endpoint, &error) < 0)
        check_fail(__FILE__, __LINE__, "\"%s\": %s", text, error.message);
    return endpoint;
}

static pl_endpoint server(const char *text)
{
    return parsed(pl_endpoint_parse_server, text);
}

static pl_endpoint client(const char *text)
{
    return parsed(pl_endpoint_parse_client, text);
}

typedef struct bad_row {
    const char *text;
    size_t at;
    const char *message; /* behind "expected " */
} bad_row;

static void check_bad(parse_fn *parse, const bad_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pl_endpoint endpoint = {.port = 4711};
        pl_endpoint_error error = {0};
        const char *said;

        PL_EQ(parse(rows[i].text, &endpoint, NULL), PL_E_SYNTAX);
        PL_EQ(parse(rows[i].text, &endpoint, &error), PL_E_SYNTAX);
        PL_EQ(endpoint.port, 4711);
        said = strstr(error.message, "expected ");
        if (error.at != rows[i].at || !said || strcmp(said + 9, rows[i].message) != 0)
            check_fail(__FILE__, __LINE__, "\"%s\": character %zu expected, at %zu says: %s",
                       rows[i].text, rows[i].at, error.at, error.message);
    }
}

#define CHECK_BAD(parse, rows) check_bad(parse, rows, sizeof rows / sizeof rows[0])

#define SERVER_TYPES "tcp, tcp4, tcp6, unix, unix-datagram, udp, fd or systemd"
#define CLIENT_TYPES "tcp, tcp4, tcp6, unix, unix-datagram or udp"
#define SERVER_KEYS                                                                                \
    "one of the keys port, interface, backlog or reusePort ('\\=' is a '=' within a value)"
#define SERVER_PORT "a port from 0 to 65535"
#define CLIENT_PORT "a port from 1 to 65535"
#define ADDRESS     "an address such as 127.0.0.1 or [::1]"
#define PATH        "a path of 1 to 107 bytes, or @ and a name"
#define NO_BRACKET  "no bracket ('\\[' is one within a value)"
#define KEY_VALUE   "key=value ('\\:' is a colon within a value)"

PL_TEST(a_port_alone_has_the_documented_defaults)
{
    pl_endpoint e = server("tcp:8080");

    PL_EQ(e.kind, PL_ENDPOINT_TCP);
    PL_EQ(e.port, 8080);
    PL_STR_EQ(e.host, "");
    PL_EQ(e.backlog, 511);
    PL_CHECK(!e.reuse_port && !e.ipv4_only && !e.ipv6_only);
    PL_EQ(e.fd, -1);
}

PL_TEST(a_tcp_server_takes_every_key_in_any_order)
{
    pl_endpoint e = server("tcp:0:reusePort=1:backlog=50:interface=127.0.0.1");

    PL_EQ(e.port, 0);
    PL_EQ(e.backlog, 50);
    PL_CHECK(e.reuse_port);
    PL_STR_EQ(e.host, "127.0.0.1");
}

PL_TEST(an_ipv6_interface_is_written_in_brackets_or_with_escapes)
{
    static const char *const same[] = {
        "tcp:[::1]:80",
        "tcp:\\:\\:1:80",
        "tcp:80:interface=[::1]",
        "tcp:80:interface=\\:\\:1",
        "tcp:interface=[::1]:port=80",
        "tcp6:[::1]:80",
    };

    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        pl_endpoint e = server(same[i]);

        PL_STR_EQ(e.host, "::1");
        PL_EQ(e.port, 80);
    }
    PL_STR_EQ(server("tcp:[fe80::1%eth0]:80").host, "fe80::1%eth0");
    PL_STR_EQ(server("tcp:127.0.0.1:80").host, "127.0.0.1");
}

PL_TEST(tcp4_and_tcp6_name_their_family)
{
    PL_CHECK(server("tcp4:80").ipv4_only);
    PL_CHECK(!server("tcp4:80").ipv6_only);
    PL_CHECK(server("tcp6:80").ipv6_only);
    PL_CHECK(client("tcp6:[::1]:80").ipv6_only);
    PL_CHECK(client("tcp4:localhost:80").ipv4_only);
}

PL_TEST(a_unix_server_takes_a_path_a_mode_and_a_backlog)
{
    pl_endpoint e = server("unix:/run/x.sock:mode=660:backlog=7");

    PL_EQ(e.kind, PL_ENDPOINT_UNIX);
    PL_STR_EQ(e.path, "/run/x.sock");
    PL_EQ(e.mode, 0660);
    PL_EQ(e.backlog, 7);
    PL_EQ(server("unix:x").mode, 0666);
    PL_EQ(server("unix:x:mode=0600").mode, 0600);
    PL_STR_EQ(server("unix:@abstract").path, "@abstract");
    PL_STR_EQ(server("unix:path=x").path, "x");
    PL_STR_EQ(server("unix:/a\\:b\\=c\\\\d").path, "/a:b=c\\d");
}

PL_TEST(descriptors_and_datagrams_have_their_kinds)
{
    PL_EQ(server("fd:3").fd, 3);
    PL_EQ(server("fd:3").kind, PL_ENDPOINT_FD);
    PL_EQ(server("systemd:0").kind, PL_ENDPOINT_SYSTEMD);
    PL_STR_EQ(server("systemd:web.socket").host, "web.socket");
    PL_STR_EQ(server("systemd:socket=1").host, "1");
    PL_EQ(server("udp:53:interface=[::1]").kind, PL_ENDPOINT_UDP);
    PL_STR_EQ(server("udp:127.0.0.1:53").host, "127.0.0.1");
    PL_EQ(server("unix-datagram:/run/d:mode=600").kind, PL_ENDPOINT_UNIX_DATAGRAM);
    PL_EQ(client("udp:host:53").port, 53);
    PL_STR_EQ(client("unix-datagram:/run/d").path, "/run/d");
}

PL_TEST(a_client_names_host_port_timeout_and_bind_address)
{
    pl_endpoint e = client("tcp:www.example.com:80:timeout=2.5:bindAddress=[::1]");

    PL_STR_EQ(e.host, "www.example.com");
    PL_EQ(e.port, 80);
    PL_CHECK(e.timeout_s == 2.5);
    PL_STR_EQ(e.bind_host, "::1");
    PL_CHECK(client("tcp:h:1").timeout_s == 30);
    PL_CHECK(client("tcp:h:1:timeout=0.001").timeout_s == 0.001);
    PL_CHECK(client("tcp:h:1:timeout=86400").timeout_s == 86400);
    PL_STR_EQ(client("tcp:host=h:port=1").host, "h");
    PL_STR_EQ(client("tcp:[::1]:80").host, "::1");
    PL_STR_EQ(client("tcp:a_b-c.D:80").host, "a_b-c.D");
    PL_CHECK(client("unix:/x:timeout=1").timeout_s == 1);
}

PL_TEST(a_port_alone_is_this_machine_to_a_client)
{
    PL_STR_EQ(client("tcp:8888").host, "127.0.0.1");
    PL_STR_EQ(client("tcp4:8888").host, "127.0.0.1");
    PL_STR_EQ(client("tcp6:8888").host, "::1");
    PL_EQ(client("tcp:8888:timeout=1").port, 8888);
}

PL_TEST(the_longest_values_fit)
{
    char text[600];

    snprintf(text, sizeof text, "unix:%0107d", 0);
    PL_EQ(strlen(server(text).path), 107);
    snprintf(text, sizeof text, "tcp:%0255d:80", 0);
    text[4] = 'h';
    PL_EQ(strlen(client(text).host), 255);
}

PL_TEST(what_is_too_long_is_refused_at_its_first_character_too_many)
{
    char path[600], host[600];
    bad_row server_row = {path, 5 + 107, PATH};
    bad_row client_row = {host, 4 + 255, "at most 255 characters here"};

    snprintf(path, sizeof path, "unix:%0108d", 0);
    check_bad(pl_endpoint_parse_server, &server_row, 1);
    snprintf(host, sizeof host, "tcp:%0256d:80", 0);
    check_bad(pl_endpoint_parse_client, &client_row, 1);
}

static const bad_row bad_servers[] = {
    {"", 0, SERVER_TYPES},
    {"8080", 0, SERVER_TYPES},
    {"tcpx:80", 0, SERVER_TYPES},
    {"TCP:80", 0, SERVER_TYPES},
    {"tcp=80", 0, SERVER_TYPES},
    {":80", 0, SERVER_TYPES},
    {"tcp", 3, SERVER_PORT},
    {"tcp:", 4, SERVER_PORT},
    {"tcp:x", 4, SERVER_PORT},
    {"tcp:80x", 6, SERVER_PORT},
    {"tcp:-1", 4, SERVER_PORT},
    {"tcp: 80", 4, SERVER_PORT},
    {"tcp:65536", 4, SERVER_PORT},
    {"tcp:18446744073709551616", 4, SERVER_PORT},
    {"tcp:99999999999999999999999999999999999999x", 42, SERVER_PORT},
    {"tcp:8\\x", 5, SERVER_PORT},
    {"tcp:8\n", 5, SERVER_PORT},
    {"tcp:[80]", 4, NO_BRACKET},
    {"tcp:80:", 4, ADDRESS},
    {"tcp:localhost:80", 4, ADDRESS},
    {"tcp:[localhost]:80", 5, "an IPv6 address in []"},
    {"tcp:[127.0.0.1]:80", 5, "an IPv6 address in []"},
    {"tcp:[]:80", 5, "an IPv6 address in []"},
    {"tcp:[::1:80", 11, "']' after the IPv6 address"},
    {"tcp:[::1]80", 9, "':' or the end after ']'"},
    {"tcp:[::1]", 4, NO_BRACKET},
    {"tcp:::1:80", 4, ADDRESS},
    {"tcp:127.0.0.1:80:50", 17, KEY_VALUE},
    {"tcp:80:interface=", 17, ADDRESS},
    {"tcp:80:interface=eth0", 17, ADDRESS},
    {"tcp:80:interface=[::1", 21, "']' after the IPv6 address"},
    {"tcp4:80:interface=[::1]", 19, "an IPv4 address such as 127.0.0.1"},
    {"tcp6:80:interface=127.0.0.1", 18, "an IPv6 address such as [::1]"},
    {"tcp:80:backlog=0", 15, "a number from 1 to 1000000"},
    {"tcp:80:backlog=1000001", 15, "a number from 1 to 1000000"},
    {"tcp:80:backlog=", 15, "a number from 1 to 1000000"},
    {"tcp:80:backlog=5\\", 17, "a character after the backslash"},
    {"tcp:80:reusePort=yes", 17, "0 or 1"},
    {"tcp:80:reusePort=2", 17, "0 or 1"},
    {"tcp:80:reuseport=1", 7, SERVER_KEYS},
    {"tcp:80:=1", 7, SERVER_KEYS},
    {"tcp:80:backlog=1:", 17, "key=value, as before it"},
    {"tcp:80:backlog=1:50", 17, "key=value, as before it"},
    {"tcp:80:backlog=1:backlog=2", 17, "another key: backlog was given already"},
    {"tcp:80:port=80", 7, "another key: port was given already"},
    {"tcp:backlog=1", 13, SERVER_PORT},
    {"tcp:80:timeout=3", 7, SERVER_KEYS},
    {"unix:", 5, PATH},
    {"unix", 4, PATH},
    {"unix:@", 6, PATH},
    {"unix:[x]", 5, NO_BRACKET},
    {"unix:/x:y", 8, KEY_VALUE},
    {"unix:/a=b", 5, "one of the keys path, mode or backlog ('\\=' is a '=' within a value)"},
    {"unix:/x:mode=8", 13, "octal digits from 0 to 777"},
    {"unix:/x:mode=6a0", 14, "octal digits from 0 to 777"},
    {"unix:/x:mode=1000", 13, "octal digits from 0 to 777"},
    {"unix:/x:mode=", 13, "octal digits from 0 to 777"},
    {"unix:@x:mode=600", 8, "no mode, since an abstract name is not a file"},
    {"unix-datagram:/x:backlog=1", 17,
     "one of the keys path or mode ('\\=' is a '=' within a value)"},
    {"fd:", 3, "the number of a descriptor"},
    {"fd:-1", 3, "the number of a descriptor"},
    {"fd:2147483648", 3, "the number of a descriptor"},
    {"fd:3:4", 5, KEY_VALUE},
    {"fd:3:backlog=1", 5, "one of the keys fd ('\\=' is a '=' within a value)"},
    {"udp:53:backlog=1", 7, "one of the keys port or interface ('\\=' is a '=' within a value)"},
};

PL_TEST(a_bad_server_string_is_refused_at_its_wrong_character)
{
    CHECK_BAD(pl_endpoint_parse_server, bad_servers);
}

PL_TEST(a_bad_client_string_is_refused_at_its_wrong_character)
{
    static const bad_row rows[] = {
        {"fd:3", 0, CLIENT_TYPES},
        {"tcp:localhost", 4, CLIENT_PORT},
        {"tcp:0", 4, CLIENT_PORT},
        {"tcp:h:0", 6, CLIENT_PORT},
        {"tcp:h:", 6, CLIENT_PORT},
        {"tcp::80", 4, "a host name or an address"},
        {"tcp:256.1.1.1:80", 4, "a host name or an address"},
        {"tcp:1.2.3:80", 4, "a host name or an address"},
        {"tcp:ex ample:80", 6, "a host name or an address"},
        {"tcp:ex\xc3\xa4mple:80", 6, "a host name or an address"},
        {"tcp:a/b:80", 5, "a host name or an address"},
        {"tcp4:[::1]:80", 6, "a host name or an IPv4 address"},
        {"tcp6:127.0.0.1:80", 5, "a host name or an IPv6 address in []"},
        {"tcp:h:80:timeout=0", 17, "seconds from 0.001 to 86400"},
        {"tcp:h:80:timeout=86400.1", 17, "seconds from 0.001 to 86400"},
        {"tcp:h:80:timeout=", 17, "seconds from 0.001 to 86400"},
        {"tcp:h:80:timeout=.5", 17, "seconds from 0.001 to 86400"},
        {"tcp:h:80:timeout=5.", 19, "seconds from 0.001 to 86400"},
        {"tcp:h:80:timeout=1.2.3", 20, "seconds from 0.001 to 86400"},
        {"tcp:h:80:timeout=1e3", 18, "seconds from 0.001 to 86400"},
        {"tcp:h:80:timeout=nan", 17, "seconds from 0.001 to 86400"},
        {"tcp:h:80:bindAddress=localhost", 21, ADDRESS},
        {"tcp:h:80:30", 9, KEY_VALUE},
        {"tcp:host=h", 10, CLIENT_PORT},
        {"tcp:h:port=80", 4, CLIENT_PORT},
        {"unix:/x:mode=600", 8, "one of the keys path or timeout ('\\=' is a '=' within a value)"},
    };

    CHECK_BAD(pl_endpoint_parse_client, rows);
}

PL_TEST(a_message_shows_the_character_or_the_end)
{
    pl_endpoint e;
    pl_endpoint_error error;

    PL_EQ(pl_endpoint_parse_server("tcp:x", &e, &error), PL_E_SYNTAX);
    PL_STR_EQ(error.message, "character 4 ('x'): expected a port from 0 to 65535");
    PL_EQ(pl_endpoint_parse_server("tcp:", &e, &error), PL_E_SYNTAX);
    PL_STR_EQ(error.message, "character 4 (the end): expected a port from 0 to 65535");
    PL_EQ(pl_endpoint_parse_server("tcp:\xff", &e, &error), PL_E_SYNTAX);
    PL_STR_EQ(error.message, "character 4 ('\\xff'): expected a port from 0 to 65535");
}

PL_TEST(a_quoted_path_stands_for_itself)
{
    uint64_t seed = check_seed();

    for (int round = 0; round < 2000; round++) {
        static const char alphabet[] = ":=\\[]@/ab.";
        char path[41] = "", quoted[100], text[120];
        size_t len = (size_t) (round % 40) + 1;

        for (size_t i = 0; i < len; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            path[i] = alphabet[(seed >> 33) % (sizeof alphabet - 1)];
        }
        PL_EQ(pl_endpoint_quote(path, quoted, sizeof quoted), strlen(quoted));
        snprintf(text, sizeof text, "unix:%s:backlog=1", quoted);
        if (strcmp(path, "@") == 0)
            continue;
        PL_STR_EQ(server(text).path, path);
    }
}

PL_TEST(a_quotation_that_does_not_fit_is_cut_and_measured)
{
    char quoted[4] = "???";

    PL_EQ(pl_endpoint_quote("a:b", NULL, 0), 4);
    PL_EQ(pl_endpoint_quote("a:b", quoted, 1), 4);
    PL_STR_EQ(quoted, "");
    PL_EQ(pl_endpoint_quote("a:b", quoted, sizeof quoted), 4);
    PL_STR_EQ(quoted, "a\\:");
}

PL_TEST_MAIN
