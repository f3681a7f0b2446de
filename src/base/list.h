/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Intrusive doubly linked lists: a head is a node that points at itself, so no case is special.
 *
 *     head <-> a <-> b <-> head
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>

#include "base/attr.h"

struct list {
    struct list *next;
    struct list *prev;
};

static inline void list_init(struct list *head)
{
    head->next = head;
    head->prev = head;
}

static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

/* Whether a node stands on some list; true only for nodes that were list_init'ed or removed. */
static inline bool list_is_linked(const struct list *node)
{
    return node->next != node;
}

static inline void list_insert_before(struct list *at, struct list *node)
{
    node->next = at;
    node->prev = at->prev;
    at->prev->next = node;
    at->prev = node;
}

static inline void list_push_back(struct list *head, struct list *node)
{
    list_insert_before(head, node);
}

static inline void list_push_front(struct list *head, struct list *node)
{
    list_insert_before(head->next, node);
}

/* Takes the node off its list; it may be removed again without harm. */
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* NULL when the list is empty. */
static inline struct list *list_pop_front(struct list *head)
{
    struct list *node = head->next;
    if (node == head) {
        return NULL;
    }
    list_remove(node);
    return node;
}

#define LIST_FOREACH(node, head)                                                                   \
    for (struct list *node = (head)->next; node != (head); node = node->next)
/* The current node may be removed from within. */
#define LIST_FOREACH_SAFE(node, head)                                                              \
    for (struct list *node = (head)->next, *node##_next = node->next; node != (head);              \
         node = node##_next, node##_next = node->next)

#endif
