// SPDX-License-Identifier: MIT
#include "cmd/advice.h"

#include "base/attr.h"

#include <stddef.h>
#include <string.h>

static const struct {
	const char *type, *advice;
} advices[] = {
	{ "document_parsing_exception",
	  "a value does not fit its field: correct the row (UPDATE ... SET data = ...), or give the index a mapping that takes it" },
	{ "mapper_parsing_exception",
	  "a value does not fit its field: correct the row (UPDATE ... SET data = ...), or give the index a mapping that takes it" },
	{ "strict_dynamic_mapping_exception",
	  "the index takes no fields that its mapping does not name: add the field to the mapping, or leave it out of the document" },
	{ "mapping_expression_failed",
	  "an expression of [outbox] fails on this row, the reason has PostgreSQL's words: correct the row or the expression" },
	{ "document_too_large",
	  "the document is larger than the server takes in one request: make it smaller, or raise http.max_content_length there" },
	{ "connection_broken",
	  "the connection breaks under this document while others go through: something on the way takes nothing so large; make "
	  "it smaller, or raise that limit" },
	{ "es_rejected_execution_exception",
	  "the document alone is more than the server has room for: make it smaller, or give the server more memory" },
	{ "rejected_execution_exception",
	  "the document alone is more than the server has room for: make it smaller, or give the server more memory" },
	{ "invalid_index_name_exception",
	  "Elasticsearch takes no index of this name (lower case, at most 255 bytes, no spaces or \\ / * ? \" < > | , #): correct "
	  "the row or the expression outbox.index" },
	{ "action_request_validation_exception",
	  "id, routing, version or operation is none that Elasticsearch takes (an id has 1 to 512 bytes, the version is not below "
	  "0): correct the row or the expression" },
	{ "illegal_argument_exception",
	  "the index's settings refuse the document (a limit of fields or of depth, a routing that is missing): the reason says which" },
	{ "delete_by_query_not_allowed",
	  "a query deletes documents only of an index that outbox.delete_by_query names: add it, and restart the relay" },
	{ "delete_by_query_invalid",
	  "its document is {\"query\": {...}}, and its index is one index, or an alias of one: correct the row" },
	{ "whole_documents_only",
	  "send the whole document, or take the index out of outbox.delete_by_query and restart the relay" },
	{ "not_x_content_exception",
	  "the document is no JSON object: correct the row or the expression outbox.document" },
	{ "x_content_parse_exception",
	  "the document is no JSON that Elasticsearch reads: correct the row or the expression outbox.document" },
};

const char *advice_for(const char *type)
{
	if (!type || !*type)
		return "no error was noted, so it was given up by hand (dead_at): whoever did it knows why";
	for (size_t i = 0; i < array_len(advices); i++) {
		if (strcmp(advices[i].type, type) == 0)
			return advices[i].advice;
	}
	return "remove what the reason names, in the row, the mapping of the index or the server";
}
