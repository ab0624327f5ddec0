/*
 * JSON as it is written: a text that grows, in which commas come by themselves. Reading is jansson's.
 */
#ifndef PLI_APP_JSON_H
#define PLI_APP_JSON_H

#include "base/text.h"

typedef struct pli_json {
    pli_text text;
    bool follows; /* what is added next has something before it */
} pli_json;

void pli_json_done(pli_json *self);
/* Goes on with an empty text, in the memory that there is; what follows is still known. */
void pli_json_clear(pli_json *self);

/* '{' or '['; '}' or ']'. */
void pli_json_open(pli_json *self, char bracket);
void pli_json_close(pli_json *self, char bracket);
/* The name of what is added next. */
void pli_json_name(pli_json *self, const char *name);
/* Values. Bytes that are not UTF-8 become '?'; NULL becomes null. */
void pli_json_text(pli_json *self, const char *text);
void pli_json_number(pli_json *self, uint64_t number);
/* With millionths. */
void pli_json_real(pli_json *self, double number);
void pli_json_bool(pli_json *self, bool value);
/* The end of a line. */
void pli_json_end(pli_json *self);

/* Name and value of a member. */
void pli_json_add_text(pli_json *self, const char *name, const char *text);
void pli_json_add_number(pli_json *self, const char *name, uint64_t number);
void pli_json_add_real(pli_json *self, const char *name, double number);
void pli_json_add_bool(pli_json *self, const char *name, bool value);
/* A member that is opened. */
void pli_json_open_member(pli_json *self, const char *name, char bracket);

#endif
