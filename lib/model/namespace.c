#include "lib/model/namespace.h"

#include "lib/str.h"

static const struct codec_field slot_fields[] = {
	FIELD(struct slot, slot, CODEC_INT, .flags = CODEC_REQUIRED,
	      .note = "number of the replica, from 0"),
	FIELD(struct slot, instance, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct slot, machine, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct slot, address, CODEC_STRING, .note = "IPv4 when it was committed"),
	FIELD(struct slot, deploy, CODEC_STRING, .note = "that started the instance"),
	FIELD(struct slot, hash, CODEC_STRING, .note = "of what runs there"),
	FIELD_END,
};
const struct codec_schema slot_schema = { .name = "slot",
					  .size = sizeof(struct slot),
					  .fields = slot_fields };

static const struct codec_field head_service_fields[] = {
	FIELD(struct head_service, name, CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct head_service, digest, CODEC_STRING, .note = "of the image"),
	FIELD_LIST(struct head_service, slots, n_slots, CODEC_LIST, &slot_schema),
	FIELD_END,
};
const struct codec_schema head_service_schema = {
	.name = "head_service",
	.size = sizeof(struct head_service),
	.fields = head_service_fields,
};

static const struct codec_field open_deploy_fields[] = {
	FIELD(struct open_deploy, deploy, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct open_deploy, epoch, CODEC_INT, .flags = CODEC_REQUIRED),
	FIELD(struct open_deploy, machine, CODEC_STRING, .note = "whose leased walks it"),
	FIELD(struct open_deploy, verb, CODEC_STRING),
	FIELD_KEY(struct open_deploy, operator_, "operator", CODEC_STRING),
	FIELD(struct open_deploy, since, CODEC_STRING),
	FIELD_END,
};
const struct codec_schema open_deploy_schema = {
	.name = "open_deploy",
	.size = sizeof(struct open_deploy),
	.fields = open_deploy_fields,
};

static const struct codec_field head_fields[] = {
	FIELD_KEY(struct head, ns, "namespace", CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct head, revision, CODEC_INT,
	      .note = "raised by each commit; 0: nothing was ever committed"),
	FIELD(struct head, committed, CODEC_INT, .flags = CODEC_OMIT,
	      .note = "sequence of the entry that committed this state; absent: this entry itself"),
	FIELD(struct head, deploy, CODEC_STRING, .note = "that committed it"),
	FIELD(struct head, verb, CODEC_STRING),
	FIELD_KEY(struct head, operator_, "operator", CODEC_STRING),
	FIELD(struct head, from, CODEC_STRING, .note = "the machine it was asked on"),
	FIELD(struct head, why, CODEC_STRING),
	FIELD(struct head, at, CODEC_STRING),
	FIELD(struct head, epoch, CODEC_INT, .note = "of the writer of this entry"),
	FIELD(struct head, nonce, CODEC_STRING, .note = "by which a writer knows its own entry"),
	FIELD(struct head, hash, CODEC_STRING, .note = "of the manifest"),
	FIELD(struct head, manifest, CODEC_POINTER, .schema = &manifest_schema),
	FIELD_LIST(struct head, services, n_services, CODEC_LIST, &head_service_schema),
	FIELD(struct head, open, CODEC_POINTER, .schema = &open_deploy_schema,
	      .note = "the deploy that is under way; absent: none"),
	FIELD(struct head, outcome, CODEC_STRING, .note = "what became of a deploy that was open"),
	FIELD_END,
};
const struct codec_schema head_schema = { .name = "head",
					  .size = sizeof(struct head),
					  .fields = head_fields };

uint64_t head_committed(const struct head *head, uint64_t sequence)
{
	if (!head->revision)
		return 0;
	return head->committed ? (uint64_t)head->committed : sequence;
}

const struct head_service *head_service(const struct head *head, const char *name)
{
	for (size_t i = 0; i < head->n_services; i++)
		if (streq(head->services[i].name, name))
			return &head->services[i];
	return NULL;
}

const struct slot *head_instance(const struct head *head, const char *instance,
				 const struct head_service **ret_service)
{
	for (size_t i = 0; instance && i < head->n_services; i++)
		for (size_t j = 0; j < head->services[i].n_slots; j++)
			if (streq(head->services[i].slots[j].instance, instance)) {
				if (ret_service)
					*ret_service = &head->services[i];
				return &head->services[i].slots[j];
			}
	return NULL;
}
