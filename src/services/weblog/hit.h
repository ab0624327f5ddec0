/**
 * @file hit.h
 * A parsed log line as an XML element. No I/O, no allocation, nothing kept.
 *
 *     <hit ip="" timestamp="" request="" status="" bytes="" referrer="" agent=""/>
 *
 * with the values between the quotes; exactly that and nothing behind it: what is sent is `<hits>`,
 * the elements back to back, `</hits>`.
 *
 * A value is the field with the log's own escapes undone and then put into XML:
 * - undone are \" \\ \n \r \t \b \v \f and \xHH (two hexadecimal digits of either case), which is
 *   what Apache and nginx write; any other backslash stands for itself;
 * - & < > " become &amp; &lt; &gt; &quot;, and tab, LF and CR become &#9; &#10; &#13;, without
 *   which a parser would make them spaces (XML 1.0, 3.3.3);
 * - the bytes that come of it are UTF-8, also where they were \xHH one by one. Each byte, or
 *   maximal begin of a character, that is not (overlong forms, surrogates, beyond U+10FFFF) becomes
 *   one U+FFFD, as Unicode recommends (The Unicode Standard, 3.9) and browsers do. So does each
 *   character that XML 1.0 forbids (2.2): the controls other than those three, U+FFFE and U+FFFF.
 *   U+007F to U+009F are allowed, and stay.
 */
#ifndef PLI_WEBLOG_HIT_H
#define PLI_WEBLOG_HIT_H

#include "logline.h"

PL_BEGIN

/**
 * Room enough for the element of any line of `line_len` bytes: six times that and a little, though a
 * common element is only some 70 bytes longer than its line. SIZE_MAX if the true figure is larger.
 */
size_t pli_hit_size_max(size_t line_len);

/**
 * Writes the element of `line` to `out`. Returns its size, or -1 if it is larger than `cap`, which it
 * never is when `cap` is pli_hit_size_max of the line's length.
 *
 * Nothing is written from `out + cap` on; bytes before it that are not the element's may have been
 * overwritten. The whole line must still be readable up to `line->limit`. Any `cap` not below the
 * element's size will do, but the last 64 bytes of the room are filled byte by byte, at a tenth of the
 * speed: leave that much to spare.
 */
PL_MUST ptrdiff_t pli_hit_encode(const pli_logline *line, char *out, size_t cap);

PL_END

#endif
