#include "worker/benchmark/builtin_code.h"

#include <string>
#include <utility>

namespace merganser {
namespace {

// Tasks 2 to 4 of MBPP (Austin et al. 2021, google-research/google-research, CC BY 4.0), the examples of its paper.
std::vector<std::string> MbppShots() {
  return {
      R"SHOT({"text": "Write a function to find the similar elements from the given two tuple lists.", "code": "def similar_elements(test_tup1, test_tup2):\r\n  res = tuple(set(test_tup1) & set(test_tup2))\r\n  return (res) ", "test_list": ["assert similar_elements((3, 4, 5, 6),(5, 7, 4, 10)) == (4, 5)", "assert similar_elements((1, 2, 3, 4),(5, 4, 3, 7)) == (3, 4)", "assert similar_elements((11, 12, 14, 13),(17, 15, 14, 13)) == (13, 14)"]})SHOT",
      R"SHOT({"text": "Write a python function to identify non-prime numbers.", "code": "import math\r\ndef is_not_prime(n):\r\n    result = False\r\n    for i in range(2,int(math.sqrt(n)) + 1):\r\n        if n % i == 0:\r\n            result = True\r\n    return result", "test_list": ["assert is_not_prime(2) == False", "assert is_not_prime(10) == True", "assert is_not_prime(35) == True"]})SHOT",
      R"SHOT({"text": "Write a function to find the largest integers from a given list of numbers using heap queue algorithm.", "code": "import heapq as hq\r\ndef heap_queue_largest(nums,n):\r\n  largest_nums = hq.nlargest(n, nums)\r\n  return largest_nums", "test_list": ["assert heap_queue_largest( [25, 35, 22, 85, 14, 65, 75, 22, 58],3)==[85, 75, 65] ", "assert heap_queue_largest( [25, 35, 22, 85, 14, 65, 75, 22, 58],2)==[85, 75] ", "assert heap_queue_largest( [25, 35, 22, 85, 14, 65, 75, 22, 58],5)==[85, 75, 65, 58, 35]"]})SHOT",
  };
}

}  // namespace

// Prompts, stops and tests as lm-evaluation-harness 0.4.13 has them.
void AddCodeBenchmarks(std::vector<BuiltinBenchmark>* table) {
  BuiltinBenchmark human;
  human.spec.name = "humaneval";
  human.spec.prompt = "{{prompt}}";
  human.spec.question_field = "task_id";
  human.spec.max_new_tokens = 1024;
  human.spec.stop = std::vector<std::string>{"\nclass", "\ndef", "\n#", "\nif", "\nprint"};
  human.spec.code = CodeSettings{.program = "{{prompt}}{{completion}}\n{{test}}\ncheck({{entry_point}})\n"};
  human.file = "HumanEval.jsonl";
  human.source = "HumanEval.jsonl of github.com/openai/human-eval (data/HumanEval.jsonl.gz, unpacked; MIT)";
  table->push_back(std::move(human));

  BuiltinBenchmark mbpp;
  mbpp.spec.name = "mbpp";
  mbpp.spec.prompt =
      "You are an expert Python programmer, and here is your task: {{text}} Your code should pass these tests:\n\n"
      "{{test_list[0]}}\n{{test_list[1]}}\n{{test_list[2]}}\n[BEGIN]\n";
  mbpp.spec.question_field = "text";
  mbpp.spec.target = "{{code}}\n[DONE]";
  mbpp.spec.target_delimiter = "";
  mbpp.spec.few_shot.samples = MbppShots();
  mbpp.spec.max_new_tokens = 1024;
  mbpp.spec.stop = std::vector<std::string>{"[DONE]"};
  mbpp.spec.skip = 10;  // tasks 11 to 510 are its test set
  mbpp.spec.limit = 500;
  mbpp.spec.code =
      CodeSettings{.program = "{{completion}}\n{{test_setup_code | default('')}}\n{{test_list | join('\\n')}}\n"};
  mbpp.file = "mbpp.jsonl";
  mbpp.source = "mbpp.jsonl of github.com/google-research/google-research (mbpp/, CC BY 4.0)";
  table->push_back(std::move(mbpp));
}

}  // namespace merganser
