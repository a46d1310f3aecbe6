#include "worker/merge/named_chat_templates.h"

namespace merganser {
namespace {

struct NamedTemplate {
  const char* name;
  const char* text;
};

constexpr NamedTemplate kTemplates[] = {
    {"alpaca",
     "{% for m in messages %}"
     "{% if m.role == 'system' %}{{ m.content | trim }}"
     "{% elif m.role == 'user' %}{{ '### Instruction:\n' ~ (m.content | trim) }}"
     "{% elif m.role == 'user_context' %}{{ '### Input:\n' ~ (m.content | trim) }}"
     "{% else %}{{ '### Response:\n' ~ (m.content | trim) }}{% endif %}"
     "{% if not loop.last %}{{ '\n\n' }}{% endif %}"
     "{% endfor %}"
     "{% if add_generation_prompt %}{{ '\n\n### Response:\n' }}{% endif %}"},
    {"chatml",
     "{% for m in messages %}{{ '<|im_start|>' ~ m.role ~ '\n' ~ m.content ~ '<|im_end|>\n' }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"},
    {"exaone",
     "{% for m in messages %}"
     "{% if loop.first and m.role != 'system' %}{{ '[|system|][|endofturn|]\n' }}{% endif %}"
     "{{ '[|' ~ m.role ~ '|]' ~ m.content ~ ('\n' if m.role == 'user' else '[|endofturn|]\n') }}"
     "{% endfor %}"
     "{% if add_generation_prompt %}{{ '[|assistant|]' }}{% endif %}"},
    {"llama3",
     "{{ bos_token }}"
     "{% for m in messages %}"
     "{{ '<|start_header_id|>' ~ m.role ~ '<|end_header_id|>\n\n' ~ (m.content | trim) ~ '<|eot_id|>' }}"
     "{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"},
    {"mistral",
     "{% set with_system = messages[0].role == 'system' %}"
     "{{ bos_token }}"
     "{% for m in (messages[1:] if with_system else messages) %}"
     "{% if m.role != ('user' if loop.index0 % 2 == 0 else 'assistant') %}"
     "{{ raise_exception('after a system message, which may be left out, user and assistant take turns, the user first') }}"
     "{% elif m.role == 'user' %}"
     "{{ ' [INST] ' ~ (messages[0].content ~ '\n\n' if with_system and loop.first else '') ~ m.content ~ ' [/INST]' }}"
     "{% else %}{{ ' ' ~ m.content ~ eos_token }}{% endif %}"
     "{% endfor %}"},
};

}  // namespace

std::vector<std::string> ChatTemplateNames() {
  std::vector<std::string> names;
  for (const NamedTemplate& named : kTemplates) names.emplace_back(named.name);
  return names;
}

std::string NamedChatTemplate(absl::string_view name) {
  for (const NamedTemplate& named : kTemplates) {
    if (name == named.name) return named.text;
  }
  return "";
}

}  // namespace merganser
