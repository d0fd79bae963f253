/* Loops of jansson and of <sys/queue.h>: cppcheck reads no system headers. */
#define json_array_foreach(a, i, v) \
	for (i = 0; i < json_array_size(a) && (v = json_array_get(a, i)); i++)
#define json_object_foreach(o, k, v) \
	for (k = first_key(o); k && (v = json_object_get(o, k)); k = next_key(o, k))
#define LIST_FOREACH(v, head, field) for (v = (head)->lh_first; v; v = v->field.le_next)
#define STAILQ_FOREACH(v, head, field) for (v = (head)->stqh_first; v; v = v->field.stqe_next)
#define TAILQ_FOREACH(v, head, field) for (v = (head)->tqh_first; v; v = v->field.tqe_next)
