/*
 * Endpoint strings.
 *
 * A string is cut into pieces at its colons first; which of them are key=value and how many are positional decides what each means.
 * All that differs between the types stands in two tables (of servers and of clients): what the keys are, and what one, two ...
 * positional pieces stand for. A value is unescaped into a buffer that remembers where each of its characters stood, so that whoever
 * finds fault with a value can name the character of the whole string.
 *
 * Nothing here asks the system: whether a host, an interface or a path exists is for the caller to find out.
 */
#include <plait/endpoint.h>

#include <limits.h>
#include <stdio.h>

#include "net/address.h"

enum {
    params_max = 6,
    value_max = 255,
    mode_default = 0666,
    backlog_default = 511,
    timeout_default_s = 30,
    backlog_max = 1000000,
};

/* What was found wrong; `expected` is a phrase. */
typedef struct ep_fault {
    size_t at;
    const char *expected;
    char room[120]; /* for a phrase that is made up */
} ep_fault;

static const size_t none = SIZE_MAX;

/* What stands between two colons: where it begins and ends, and where its value does. */
typedef struct ep_piece {
    size_t at, end;
    size_t value_at, value_end; /* without brackets, and behind the '=' */
    size_t equals;              /* of key=value; `none` when it is positional */
    bool bracketed;
} ep_piece;

/* A piece's value without its escapes; text[i] stood at at[i], and at[len] is where the value ends. */
typedef struct ep_value {
    char text[value_max + 1];
    size_t at[value_max + 1];
    size_t len;
} ep_value;

/* Puts a value into the endpoint. Returns: whether it is right; else `*reterr_bad` is which character of the value is not. */
typedef bool take_fn(const ep_value *value, pl_endpoint *endpoint, size_t *reterr_bad);

typedef struct ep_param {
    const char *name;
    take_fn *take;
    const char *expected;
    bool bracketed; /* may stand in brackets */
} ep_param;

typedef struct ep_type {
    const char *name;
    pl_endpoint_kind kind;
    pl_family family; /* PL_NO_ADDRESS: both */
    const char *host; /* what `host` is when nothing names it */
    const ep_param
        *one; /* what a single positional piece stands for; it has to be there, named or not */
    const ep_param *two[2];             /* what two positional pieces stand for */
    const ep_param *params[params_max]; /* all that can be named */
} ep_type;

/* --- Values ----------------------------------------------------------------------------------- */

/* Digits of `base` that make a number from `min` to `max`. */
static bool read_number(const ep_value *v, unsigned base, uint64_t min, uint64_t max, uint64_t *ret,
                        size_t *reterr_bad)
{
    uint64_t n = 0;
    size_t i;

    for (i = 0; i < v->len; i++) {
        unsigned digit = (unsigned) (unsigned char) v->text[i] - '0';

        if (digit >= base)
            break;
        n = n <= max ? n * base + digit : n; /* stays above max, and does not wrap */
    }
    if (i == v->len && v->len > 0 && n >= min && n <= max) {
        *ret = n;
        return true;
    }
    *reterr_bad = i < v->len ? i : 0; /* a number out of its range is wrong as a whole */
    return false;
}

static bool take_port_from(uint64_t min, const ep_value *v, pl_endpoint *endpoint,
                           size_t *reterr_bad)
{
    uint64_t n;

    if (!read_number(v, 10, min, UINT16_MAX, &n, reterr_bad))
        return false;
    endpoint->port = (uint16_t) n;
    return true;
}

static bool take_server_port(const ep_value *v, pl_endpoint *endpoint, size_t *reterr_bad)
{
    return take_port_from(0, v, endpoint, reterr_bad);
}

static bool take_client_port(const ep_value *v, pl_endpoint *endpoint, size_t *reterr_bad)
{
    return take_port_from(1, v, endpoint, reterr_bad);
}

static bool take_backlog(const ep_value *v, pl_endpoint *endpoint, size_t *reterr_bad)
{
    uint64_t n;

    if (!read_number(v, 10, 1, backlog_max, &n, reterr_bad))
        return false;
    endpoint->backlog = (int) n;
    return true;
}

static bool take_reuse_port(const ep_value *v, pl_endpoint *endpoint, size_t *reterr_bad)
{
    uint64_t n;

    if (!read_number(v, 10, 0, 1, &n, reterr_bad))
        return false;
    endpoint->reuse_port = n == 1;
    return true;
}

static bool take_mode(const ep_value *v, pl_endpoint *endpoint, size_t *reterr_bad)
{
    uint64_t n;

    if (!read_number(v, 8, 0, 0777, &n, reterr_bad))
        return false;
    endpoint->mode = (uint16_t) n;
    return true;
}

static bool take_fd(const ep_value *v, pl_endpoint *endpoint, size_t *reterr_bad)
{
    uint64_t n;

    if (!read_number(v, 10, 0, INT_MAX, &n, reterr_bad))
        return false;
    endpoint->fd = (int) n;
    return true;
}

/* What sd_listen_fds_with_names(3) allows: printable ASCII but ':', which would have to be escaped anyway. */
static bool take_socket(const ep_value *v, pl_endpoint *endpoint, size_t *reterr_bad)
{
    size_t i = 0;

    while (i < v->len && v->text[i] > ' ' && v->text[i] < 0x7f && v->text[i] != ':')
        ++i;
    *reterr_bad = i;
    if (i < v->len || !v->len)
        return false;
    memcpy(endpoint->host, v->text, v->len + 1);
    return true;
}

/* "30", "0.5". Not strtod(), which would take what the locale, hexadecimal and infinity have to offer. */
static bool take_timeout(const ep_value *v, pl_endpoint *endpoint, size_t *reterr_bad)
{
    double seconds = 0, unit = 1;
    size_t i, digits = 0;

    for (i = 0; i < v->len; i++) {
        unsigned digit = (unsigned) (unsigned char) v->text[i] - '0';

        if (v->text[i] == '.' && unit == 1 && digits > 0) {
            unit = 0.1;
            digits = 0;
        } else if (digit > 9) {
            break;
        } else {
            digits++;
            seconds = unit == 1 ? seconds * 10 + digit : seconds + digit * unit;
            unit = unit == 1 ? 1 : unit / 10;
        }
    }
    if (i == v->len && digits > 0 && seconds >= 0.001 && seconds <= 86400) {
        endpoint->timeout_s = seconds;
        return true;
    }
    *reterr_bad = i < v->len || digits == 0 ? i : 0;
    return false;
}

static bool family_fits(pl_family family, const pl_endpoint *endpoint)
{
    return (family == PL_IPV4 && !endpoint->ipv6_only) ||
           (family == PL_IPV6 && !endpoint->ipv4_only);
}

static bool take_address(const ep_value *v, const pl_endpoint *endpoint, char *text, size_t size,
                         size_t *reterr_bad)
{
    *reterr_bad = 0;
    if (v->len >= size || !family_fits(pli_address_text_family(v->text), endpoint))
        return false;
    memcpy(text, v->text, v->len + 1);
    return true;
}

static bool take_interface(const ep_value *v, pl_endpoint *endpoint, size_t *reterr_bad)
{
    return take_address(v, endpoint, endpoint->host, sizeof endpoint->host, reterr_bad);
}

static bool take_bind_address(const ep_value *v, pl_endpoint *endpoint, size_t *reterr_bad)
{
    return take_address(v, endpoint, endpoint->bind_host, sizeof endpoint->bind_host, reterr_bad);
}

/* ASCII by hand: isalnum() would ask the locale. */
static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
}

/* An address or a name. What looks like an address must be one: "256.1.1.1" is not to be asked of a name server. */
static bool take_host(const ep_value *v, pl_endpoint *endpoint, size_t *reterr_bad)
{
    bool address_like = memchr(v->text, ':', v->len) || strspn(v->text, "0123456789.") == v->len;

    if (address_like)
        return take_address(v, endpoint, endpoint->host, sizeof endpoint->host, reterr_bad);
    for (size_t i = 0; i < v->len; i++) {
        if (!is_name_char(v->text[i])) {
            *reterr_bad = i;
            return false;
        }
    }
    memcpy(endpoint->host, v->text, v->len + 1);
    return true;
}

static bool take_path(const ep_value *v, pl_endpoint *endpoint, size_t *reterr_bad)
{
    *reterr_bad = v->len > PL_UNIX_PATH_MAX ? PL_UNIX_PATH_MAX : v->len;
    if (v->len == 0 || v->len > PL_UNIX_PATH_MAX || strcmp(v->text, "@") == 0)
        return false;
    memcpy(endpoint->path, v->text, v->len + 1);
    return true;
}

/* --- The tables ------------------------------------------------------------------------------- */

/* clang-format off */
#define ADDRESS  "an address such as 127.0.0.1 or [::1]"
#define ADDRESS4 "an IPv4 address such as 127.0.0.1"
#define ADDRESS6 "an IPv6 address such as [::1]"

static const ep_param
    p_s_port = {"port", take_server_port, "a port from 0 to 65535", false},
    p_c_port = {"port", take_client_port, "a port from 1 to 65535", false},
    p_host   = {"host", take_host, "a host name or an address", true},
    p_host4  = {"host", take_host, "a host name or an IPv4 address", true},
    p_host6  = {"host", take_host, "a host name or an IPv6 address in []", true},
    p_iface  = {"interface", take_interface, ADDRESS, true},
    p_iface4 = {"interface", take_interface, ADDRESS4, true},
    p_iface6 = {"interface", take_interface, ADDRESS6, true},
    p_bind   = {"bindAddress", take_bind_address, ADDRESS, true},
    p_bind4  = {"bindAddress", take_bind_address, ADDRESS4, true},
    p_bind6  = {"bindAddress", take_bind_address, ADDRESS6, true},
    p_wait   = {"timeout", take_timeout, "seconds from 0.001 to 86400", false},
    p_queue  = {"backlog", take_backlog, "a number from 1 to 1000000", false},
    p_reuse  = {"reusePort", take_reuse_port, "0 or 1", false},
    p_path   = {"path", take_path, "a path of 1 to 107 bytes, or @ and a name", false},
    p_mode   = {"mode", take_mode, "octal digits from 0 to 777", false},
    p_fd     = {"fd", take_fd, "the number of a descriptor", false},
    p_socket = {"socket", take_socket, "the number or the name of a socket", false};

static const ep_type servers[] = {
    {"tcp",  PL_ENDPOINT_TCP,  PL_NO_ADDRESS, "", &p_s_port, {&p_iface, &p_s_port}, {&p_s_port, &p_iface, &p_queue, &p_reuse}},
    {"tcp4", PL_ENDPOINT_TCP,  PL_IPV4, "", &p_s_port, {&p_iface4, &p_s_port}, {&p_s_port, &p_iface4, &p_queue, &p_reuse}},
    {"tcp6", PL_ENDPOINT_TCP,  PL_IPV6, "", &p_s_port, {&p_iface6, &p_s_port}, {&p_s_port, &p_iface6, &p_queue, &p_reuse}},
    {"unix", PL_ENDPOINT_UNIX, PL_NO_ADDRESS, "", &p_path, {NULL}, {&p_path, &p_mode, &p_queue}},
    {"unix-datagram", PL_ENDPOINT_UNIX_DATAGRAM, PL_NO_ADDRESS, "", &p_path, {NULL}, {&p_path, &p_mode}},
    {"udp",  PL_ENDPOINT_UDP,  PL_NO_ADDRESS, "", &p_s_port, {&p_iface, &p_s_port}, {&p_s_port, &p_iface}},
    {"fd",   PL_ENDPOINT_FD,   PL_NO_ADDRESS, "", &p_fd, {NULL}, {&p_fd}},
    {"systemd", PL_ENDPOINT_SYSTEMD, PL_NO_ADDRESS, "", &p_socket, {NULL}, {&p_socket}},
    {.name = NULL},
};

static const ep_type clients[] = {
    {"tcp",  PL_ENDPOINT_TCP,  PL_NO_ADDRESS, "127.0.0.1", &p_c_port, {&p_host, &p_c_port}, {&p_host, &p_c_port, &p_wait, &p_bind}},
    {"tcp4", PL_ENDPOINT_TCP,  PL_IPV4, "127.0.0.1", &p_c_port, {&p_host4, &p_c_port}, {&p_host4, &p_c_port, &p_wait, &p_bind4}},
    {"tcp6", PL_ENDPOINT_TCP,  PL_IPV6, "::1", &p_c_port, {&p_host6, &p_c_port}, {&p_host6, &p_c_port, &p_wait, &p_bind6}},
    {"unix", PL_ENDPOINT_UNIX, PL_NO_ADDRESS, "", &p_path, {NULL}, {&p_path, &p_wait}},
    {"unix-datagram", PL_ENDPOINT_UNIX_DATAGRAM, PL_NO_ADDRESS, "", &p_path, {NULL}, {&p_path}},
    {"udp",  PL_ENDPOINT_UDP,  PL_NO_ADDRESS, "127.0.0.1", &p_c_port, {&p_host, &p_c_port}, {&p_host, &p_c_port}},
    {.name = NULL},
};
/* clang-format on */

/* --- Pieces ----------------------------------------------------------------------------------- */

static bool fail(ep_fault *fault, size_t at, const char *expected)
{
    fault->at = at;
    fault->expected = expected;
    return false;
}

/* From a '[' to its ']', between which nothing has a meaning. */
static bool cut_bracketed(const char *text, size_t at, ep_piece *piece, ep_fault *fault)
{
    size_t close = at + strcspn(text + at, "]");

    if (text[close] == '\0')
        return fail(fault, close, "']' after the IPv6 address");
    if (text[close + 1] != '\0' && text[close + 1] != ':')
        return fail(fault, close + 1, "':' or the end after ']'");
    piece->bracketed = true;
    piece->value_at = at + 1;
    piece->value_end = close;
    piece->end = close + 1;
    return true;
}

static bool cut_plain(const char *text, ep_piece *piece, ep_fault *fault)
{
    size_t i;

    for (i = piece->at; text[i] != '\0' && text[i] != ':'; i++) {
        if (text[i] == '\\') {
            if (text[++i] == '\0')
                return fail(fault, i, "a character after the backslash");
        } else if (text[i] == '=' && piece->equals == none) {
            piece->equals = i;
            piece->value_at = i + 1;
            if (text[i + 1] == '[')
                return cut_bracketed(text, i + 1, piece, fault);
        }
    }
    piece->end = piece->value_end = i;
    return true;
}

/* The piece that begins at `at`. */
static bool cut(const char *text, size_t at, ep_piece *ret, ep_fault *fault)
{
    *ret = (ep_piece){.at = at, .value_at = at, .equals = none};
    return text[at] == '[' ? cut_bracketed(text, at, ret, fault) : cut_plain(text, ret, fault);
}

/* How many positional pieces follow the type. What is wrong with the others is found when their turn comes. */
static unsigned count_positional(const char *text, size_t type_end)
{
    unsigned n = 0;
    ep_fault ignored;
    ep_piece piece;

    for (size_t at = type_end; text[at] == ':'; at = piece.end, n++)
        if (!cut(text, at + 1, &piece, &ignored) || piece.equals != none)
            break;
    return n;
}

static bool read_value(const char *text, const ep_piece *piece, ep_value *ret, ep_fault *fault)
{
    ret->len = 0;
    for (size_t i = piece->value_at; i < piece->value_end; i++) {
        if (ret->len == value_max)
            return fail(fault, i, "at most 255 characters here");
        ret->at[ret->len] = i;
        if (text[i] == '\\' && !piece->bracketed)
            i++;
        ret->text[ret->len++] = text[i];
    }
    ret->text[ret->len] = '\0';
    ret->at[ret->len] = piece->value_end;
    if (piece->bracketed && pli_address_text_family(ret->text) != PL_IPV6)
        return fail(fault, piece->value_at, "an IPv6 address in []");
    return true;
}

/* --- Endpoints -------------------------------------------------------------------------------- */

/* An endpoint that is being parsed. */
typedef struct ep_parse {
    const char *text;
    const ep_type *type;
    unsigned positional;        /* how many there are */
    size_t seen_at[params_max]; /* where a param of the type was given, or `none` */
    pl_endpoint endpoint;
    ep_fault fault;
} ep_parse;

typedef const char *name_of_fn(const void *names, unsigned i);

/* Adds `text` at `*io_end`, as much of it as fits. */
static void append(ep_fault *fault, size_t *io_end, const char *text)
{
    size_t room = sizeof fault->room - 1 - *io_end, len = strnlen(text, room);

    memcpy(fault->room + *io_end, text, len);
    *io_end += len;
    fault->room[*io_end] = '\0';
}

/* Says "BEFORE tcp, tcp4 or unix AFTER" of the names that `name_of` knows, until it has no more. */
static bool fail_with_list(ep_fault *fault, size_t at, const char *before, name_of_fn *name_of,
                           const void *names, const char *after)
{
    size_t end = 0;

    append(fault, &end, before);
    for (unsigned i = 0; name_of(names, i); i++) {
        if (i > 0)
            append(fault, &end, name_of(names, i + 1) ? ", " : " or ");
        append(fault, &end, name_of(names, i));
    }
    append(fault, &end, after);
    return fail(fault, at, fault->room);
}

static const char *type_name(const void *types, unsigned i)
{
    return ((const ep_type *) types)[i].name;
}

static const char *param_name(const void *the_type, unsigned i)
{
    const ep_type *t = the_type;

    return i < params_max && t->params[i] ? t->params[i]->name : NULL;
}

static bool is_name(const char *text, size_t from, size_t to, const char *name)
{
    return strlen(name) == to - from && memcmp(text + from, name, to - from) == 0;
}

static bool find_type(ep_parse *p, const ep_type *types, size_t *ret_end)
{
    size_t end = strcspn(p->text, ":");

    for (const ep_type *t = types; t->name; t++) {
        if (is_name(p->text, 0, end, t->name)) {
            p->type = t;
            *ret_end = end;
            return true;
        }
    }
    return fail_with_list(&p->fault, 0, "", type_name, types, "");
}

/* Which of the type's params the n-th piece behind the type is, if it is one. */
static const ep_param *choose_positional(ep_parse *p, const ep_piece *piece, unsigned n)
{
    const ep_type *t = p->type;

    if (n >= p->positional)
        fail(&p->fault, piece->at, "key=value, as before it");
    else if (n >= (t->two[0] ? 2 : 1))
        fail(&p->fault, piece->at, "key=value ('\\:' is a colon within a value)");
    else
        return t->two[0] && p->positional > 1 ? t->two[n] : t->one;
    return NULL;
}

static const ep_param *choose_named(ep_parse *p, const ep_piece *piece)
{
    for (unsigned i = 0; i < params_max && p->type->params[i]; i++)
        if (is_name(p->text, piece->at, piece->equals, p->type->params[i]->name))
            return p->type->params[i];
    fail_with_list(&p->fault, piece->at, "one of the keys ", param_name, p->type,
                   " ('\\=' is a '=' within a value)");
    return NULL;
}

static size_t *seen_at(ep_parse *p, const ep_param *param)
{
    for (unsigned i = 0; i < params_max; i++)
        if (p->type->params[i] == param)
            return &p->seen_at[i];
    return NULL;
}

static bool take_piece(ep_parse *p, const ep_piece *piece, const ep_param *param)
{
    size_t *seen = seen_at(p, param), bad = 0;
    ep_value value;

    if (*seen != none) {
        snprintf(p->fault.room, sizeof p->fault.room, "another key: %s was given already",
                 param->name);
        return fail(&p->fault, piece->at, p->fault.room);
    }
    *seen = piece->at;
    if (piece->bracketed && !param->bracketed)
        return fail(&p->fault, piece->value_at - 1, "no bracket ('\\[' is one within a value)");
    if (!read_value(p->text, piece, &value, &p->fault))
        return false;
    return param->take(&value, &p->endpoint, &bad) ||
           fail(&p->fault, value.at[bad], param->expected);
}

/* What no single piece shows. */
static bool check_whole(ep_parse *p)
{
    const size_t *mode_at = seen_at(p, &p_mode);
    const ep_param *required = p->type->one;

    if (*seen_at(p, required) == none)
        return fail(&p->fault, strlen(p->text), required->expected);
    if (p->endpoint.path[0] == '@' && mode_at && *mode_at != none)
        return fail(&p->fault, *mode_at, "no mode, since an abstract name is not a file");
    return true;
}

static void set_defaults(ep_parse *p)
{
    p->endpoint = (pl_endpoint){
        .kind = (uint8_t) p->type->kind,
        .ipv4_only = p->type->family == PL_IPV4,
        .ipv6_only = p->type->family == PL_IPV6,
        .mode = mode_default,
        .backlog = backlog_default,
        .fd = -1,
        .timeout_s = timeout_default_s,
    };
    memcpy(p->endpoint.host, p->type->host, strlen(p->type->host) + 1);
    for (unsigned i = 0; i < params_max; i++)
        p->seen_at[i] = none;
}

static bool parse_text(ep_parse *p, const ep_type *types)
{
    size_t at = 0;
    ep_piece piece;

    if (!find_type(p, types, &at))
        return false;
    set_defaults(p);
    p->positional = count_positional(p->text, at);
    for (unsigned n = 0; p->text[at] == ':'; at = piece.end, n++) {
        const ep_param *param;

        if (!cut(p->text, at + 1, &piece, &p->fault))
            return false;
        param = piece.equals == none ? choose_positional(p, &piece, n) : choose_named(p, &piece);
        if (!param || !take_piece(p, &piece, param))
            return false;
    }
    return check_whole(p);
}

/* "character 5 ('x'): expected a port from 0 to 65535" */
static void explain(const char *text, const ep_fault *fault, pl_endpoint_error *error)
{
    unsigned char c = (unsigned char) text[fault->at];
    char shown[16];

    if (c == '\0')
        snprintf(shown, sizeof shown, "the end");
    else if (c >= ' ' && c < 0x7f)
        snprintf(shown, sizeof shown, "'%c'", c);
    else
        snprintf(shown, sizeof shown, "'\\x%02x'", c);
    error->at = fault->at;
    snprintf(error->message, sizeof error->message, "character %zu (%s): expected %s", fault->at,
             shown, fault->expected);
}

static int parse_with(const ep_type *types, const char *text, pl_endpoint *ret_endpoint,
                      pl_endpoint_error *reterr_error)
{
    ep_parse p = {.text = text};

    if (parse_text(&p, types)) {
        *ret_endpoint = p.endpoint;
        return 0;
    }
    if (reterr_error)
        explain(text, &p.fault, reterr_error);
    return PL_E_SYNTAX;
}

int pl_endpoint_parse_server(const char *text, pl_endpoint *ret_endpoint,
                             pl_endpoint_error *reterr_error)
{
    return parse_with(servers, text, ret_endpoint, reterr_error);
}

int pl_endpoint_parse_client(const char *text, pl_endpoint *ret_endpoint,
                             pl_endpoint_error *reterr_error)
{
    return parse_with(clients, text, ret_endpoint, reterr_error);
}

size_t pl_endpoint_quote(const char *text, char *quoted, size_t size)
{
    size_t len = 0;

    for (const char *p = text; *p; p++) {
        if (strchr(":\\=[", *p)) {
            if (len + 1 < size)
                quoted[len] = '\\';
            len++;
        }
        if (len + 1 < size)
            quoted[len] = *p;
        len++;
    }
    if (size > 0)
        quoted[len < size ? len : size - 1] = '\0';
    return len;
}
