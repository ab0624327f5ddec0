/*
 * Sixteen bytes of a log line at a time.
 *
 * A line is read twice, by the parser looking for quotes and by the encoder looking for bytes that
 * XML does not take as they are. Nearly all of its bytes are neither, so both ask one question of
 * sixteen bytes at once and get a mask, bit i for byte i, whose lowest bit says where to stop.
 * Nothing here branches on a byte.
 *
 * SSE2 belongs to every x86-64 machine, so it is chosen when compiling and never looked for. Other
 * machines work on two words, at about half the speed. PLI_PLAIN_C makes a test build do that on
 * x86-64 too.
 */
#ifndef PLI_WEBLOG_BLOCK_H
#define PLI_WEBLOG_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(PLI_PLAIN_C)
#include <emmintrin.h>
#endif

enum { BLOCK = 16, TIMESTAMP = 26 };

/* The bits of the first `n` bytes of a block; n <= BLOCK. */
static inline unsigned block_first(size_t n)
{
    return (1u << n) - 1u;
}

/* The number of the lowest byte that is in `mask`, which is not empty. */
static inline size_t block_lowest(unsigned mask)
{
    return (size_t) __builtin_ctz(mask);
}

static inline uint64_t block_word(const char *p, size_t n)
{
    uint64_t word = 0;
    uint32_t low, high;

    if (n >= 4) { /* two halves that overlap in the middle: no loop, no call */
        memcpy(&low, p, 4);
        memcpy(&high, p + n - 4, 4);
        word = low | (uint64_t) high << (n - 4) * 8;
    } else if (n > 0) {
        word = (uint64_t) (unsigned char) p[0] | (uint64_t) (unsigned char) p[n / 2] << n / 2 * 8 |
               (uint64_t) (unsigned char) p[n - 1] << (n - 1) * 8;
    }
    return word;
}

#if defined(__SSE2__) && !defined(PLI_PLAIN_C)

typedef __m128i block;

static inline block block_load(const char *p)
{
    return _mm_loadu_si128((const __m128i *) (const void *) p);
}

/* Less than a block, without reading beyond its end; the rest is NUL. */
static inline block block_load_part(const char *p, size_t n)
{
    if (n < 8)
        return _mm_set_epi64x(0, (long long) block_word(p, n));
    return _mm_set_epi64x((long long) block_word(p + 8, n - 8), (long long) block_word(p, 8));
}

static inline void block_store(char *out, block b)
{
    _mm_storeu_si128((__m128i *) (void *) out, b);
}

static inline unsigned block_mask(__m128i found)
{
    return (unsigned) _mm_movemask_epi8(found);
}

static inline unsigned block_equal(block b, char c)
{
    return block_mask(_mm_cmpeq_epi8(b, _mm_set1_epi8(c)));
}

/* Between `low` and `high`, both included: the unsigned minimum stands in for the compare SSE2
 * lacks. */
static inline __m128i block_between_(block b, char low, char high)
{
    __m128i x = _mm_sub_epi8(b, _mm_set1_epi8(low));

    return _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8((char) (high - low))), x);
}

static inline unsigned block_digits(block b)
{
    return block_mask(block_between_(b, '0', '9'));
}

/* Quotes and backslashes: where a quoted field may end. */
static inline unsigned block_quotes(block b)
{
    return block_mask(_mm_or_si128(_mm_cmpeq_epi8(b, _mm_set1_epi8('"')),
                                   _mm_cmpeq_epi8(b, _mm_set1_epi8('\\'))));
}

/*
 * Bytes that can't be copied into an attribute value unseen: controls, all from 0x80 on (both are
 * below the space when signed), the two pairs that differ in one bit, " & and < >, and the
 * backslash.
 */
static inline unsigned block_special(block b)
{
    __m128i low = _mm_cmplt_epi8(b, _mm_set1_epi8(' '));
    __m128i pair1 = _mm_cmpeq_epi8(_mm_or_si128(b, _mm_set1_epi8('"' ^ '&')), _mm_set1_epi8('&'));
    __m128i pair2 = _mm_cmpeq_epi8(_mm_or_si128(b, _mm_set1_epi8('<' ^ '>')), _mm_set1_epi8('>'));
    __m128i escape = _mm_cmpeq_epi8(b, _mm_set1_epi8('\\'));

    return block_mask(_mm_or_si128(_mm_or_si128(low, escape), _mm_or_si128(pair1, pair2)));
}

/* Whether the TIMESTAMP bytes at `p` are 17/May/2015:10:05:03 +0000: two blocks that overlap. */
static inline bool block_is_timestamp(const char *p)
{
    static const char form[] = "00/aaa/0000:00:00:00 +0000";
    block a = block_load(p), b = block_load(p + 10);
    unsigned letters = block_mask(block_between_(_mm_or_si128(a, _mm_set1_epi8(' ')), 'a', 'z'));
    unsigned marks_a = block_mask(_mm_cmpeq_epi8(a, block_load(form)));
    unsigned marks_b = block_mask(_mm_cmpeq_epi8(b, block_load(form + 10)));
    unsigned first = (block_digits(a) & 0xb783u) | (marks_a & 0x4844u) | (letters & 0x0038u);
    unsigned second = (block_digits(b) & 0xf36du) | (marks_b & 0x0492u);

    return first == 0xffffu && second == 0xf7ffu && (p[21] == '+' || p[21] == '-');
}

#else

/* Two words, the byte at the lower address lowest; what is asked of a word is answered in its
 * bytes' top bits. */
typedef struct block {
    uint64_t word[2];
} block;

static const uint64_t block_ones = 0x0101010101010101u, block_tops = 0x8080808080808080u;

static inline uint64_t block_swapped(uint64_t word)
{
    return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? __builtin_bswap64(word) : word;
}

static inline block block_load(const char *p)
{
    block b;

    memcpy(b.word, p, BLOCK);
    b.word[0] = block_swapped(b.word[0]);
    b.word[1] = block_swapped(b.word[1]);
    return b;
}

static inline block block_load_part(const char *p, size_t n)
{
    char text[BLOCK] = {0};

    memcpy(text, p, n);
    return block_load(text);
}

static inline void block_store(char *out, block b)
{
    b.word[0] = block_swapped(b.word[0]);
    b.word[1] = block_swapped(b.word[1]);
    memcpy(out, b.word, BLOCK);
}

/* The bytes that are `c`. The sum can't carry into the next byte, so there are no false ones. */
static inline uint64_t block_equal_(uint64_t word, unsigned char c)
{
    uint64_t x = word ^ block_ones * c;

    return ~(((x & ~block_tops) + ~block_tops) | x) & block_tops;
}

/* The bytes that are below `c`, which is at most 0x80, and not those from 0x80 on. */
static inline uint64_t block_below_(uint64_t word, unsigned char c)
{
    return ~((word & ~block_tops) + block_ones * (0x80u - c)) & ~word & block_tops;
}

/* Gathers the top bits: the product's top byte is their sum, each in a place of its own. */
static inline unsigned block_mask(uint64_t low, uint64_t high)
{
    return (unsigned) ((low >> 7) * 0x0102040810204080u >> 56) |
           (unsigned) ((high >> 7) * 0x0102040810204080u >> 56) << 8;
}

static inline unsigned block_equal(block b, char c)
{
    return block_mask(block_equal_(b.word[0], (unsigned char) c),
                      block_equal_(b.word[1], (unsigned char) c));
}

static inline unsigned block_digits(block b)
{
    return block_mask(block_below_(b.word[0], '9' + 1) & ~block_below_(b.word[0], '0'),
                      block_below_(b.word[1], '9' + 1) & ~block_below_(b.word[1], '0'));
}

static inline unsigned block_quotes(block b)
{
    return block_mask(block_equal_(b.word[0], '"') | block_equal_(b.word[0], '\\'),
                      block_equal_(b.word[1], '"') | block_equal_(b.word[1], '\\'));
}

static inline uint64_t block_special_(uint64_t word)
{
    return (word & block_tops) | block_below_(word, ' ') | block_equal_(word, '\\') |
           block_equal_(word | block_ones * ('"' ^ '&'), '&') |
           block_equal_(word | block_ones * ('<' ^ '>'), '>');
}

static inline unsigned block_special(block b)
{
    return block_mask(block_special_(b.word[0]), block_special_(b.word[1]));
}

static inline bool block_is_timestamp(const char *p)
{
    static const char form[] = "00/aaa/0000:00:00:00 +0000";

    for (unsigned i = 0; i < TIMESTAMP; i++) {
        unsigned c = (unsigned char) p[i];

        if (form[i] == '0'   ? c - '0' > 9u
            : form[i] == 'a' ? (c | ' ') - 'a' > 25u
            : form[i] == '+' ? c != '+' && c != '-'
                             : c != (unsigned char) form[i])
            return false;
    }
    return true;
}

#endif

/* Whether a block at `p` may be read, up to `limit`. By address: `p` may point into something else.
 */
static inline bool block_readable(const char *p, const char *limit)
{
    return (uintptr_t) p < (uintptr_t) limit && (uintptr_t) limit - (uintptr_t) p >= BLOCK;
}

/* The next sixteen bytes of what ends at `end`, or the fewer that are left and then NULs. */
static inline block block_next(const char *p, const char *end)
{
    return end - p >= BLOCK ? block_load(p) : block_load_part(p, (size_t) (end - p));
}

#endif
