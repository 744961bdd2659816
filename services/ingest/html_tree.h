/*
 * html_tree.h - HTML to gumbo's tree, within bounds.  Private to the library `parse`.
 */
#ifndef WEIR_INGEST_HTML_TREE_H
#define WEIR_INGEST_HTML_TREE_H

#include <gumbo.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/error.h"

typedef struct ingest_html_tree {
    weir_arena *arena; /* the whole tree */
    const GumboNode *root;
} ingest_html_tree;

/*
 * Parse a document, or (is_piece) what may stand in a body.  The tree points into `text`.
 * PARSE_FAILED: tags nested too deep, or the parser needs too much memory or time.
 */
weir_code ingest_html_tree_parse(weir_bytes text, bool is_piece, ingest_html_tree *ret_tree,
    weir_error *reterr) WEIR_MUST_CHECK;
void ingest_html_tree_fini(ingest_html_tree *tree);

#endif
