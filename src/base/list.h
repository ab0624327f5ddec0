/*
 * A doubly linked list whose links are members of what is listed. The head is a link too; an empty list's head points at itself.
 * A link that is in no list points at itself as well, so that removing twice is harmless.
 */
#ifndef PLI_BASE_LIST_H
#define PLI_BASE_LIST_H

#include <plait/base.h>

typedef struct pli_link {
    struct pli_link *prev, *next;
} pli_link;

static inline void pli_list_init(pli_link *link)
{
    link->prev = link->next = link;
}

static inline bool pli_list_empty(const pli_link *head)
{
    return head->next == head;
}

static inline void pli_list_insert_after(pli_link *at, pli_link *link)
{
    link->prev = at;
    link->next = at->next;
    at->next->prev = link;
    at->next = link;
}

static inline void pli_list_push_back(pli_link *head, pli_link *link)
{
    pli_list_insert_after(head->prev, link);
}

static inline void pli_list_remove(pli_link *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    pli_list_init(link);
}

/* Takes the first off the list; NULL when it is empty. */
static inline pli_link *pli_list_pop_front(pli_link *head)
{
    pli_link *first = head->next;

    if (first == head)
        return NULL;
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what was freed is in no list any more */
    pli_list_remove(first);
    return first;
}

/* Moves all of `from` to the end of `to`. */
static inline void pli_list_take_all(pli_link *to, pli_link *from)
{
    if (pli_list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    pli_list_init(from);
}

#endif
