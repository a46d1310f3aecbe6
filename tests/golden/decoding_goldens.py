"""Makes tests/worker/engine/testdata/decoding_ja.json: what transformers' generate and lm-evaluation-harness give for the
example's `ja` model, in fp32.

    python tests/golden/decoding_goldens.py examples/ja-math/ja tests/data/zoo-reference/ja/reference.json OUT.json

Needs torch 2.11, transformers 5.24.0, lm_eval 0.4.13, tokenizers. The prompts are those of reference.json. Items are decoded
one at a time: in transformers a batch stops together, so a search that is over may still change while another runs.
"""
import json
import sys

import torch
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

SETTINGS = {
    "beams_5_penalty_1.5": dict(num_beams=5, repetition_penalty=1.5),
    "beams_3": dict(num_beams=3),
    "beams_4_early": dict(num_beams=4, early_stopping=True, length_penalty=0.6),
    "beams_2_short": dict(num_beams=2, length_penalty=-1.0),
    "greedy_penalty_1.3": dict(num_beams=1, repetition_penalty=1.3),
}


def main(model_dir, reference, out):
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).eval()
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=f"{model_dir}/tokenizer.json", bos_token="<s>", eos_token="</s>")
    with open(reference, encoding="utf-8") as file:
        prompts = [item["prompt_ids"] for item in json.load(file)["generations"]]
    result = {"max_new_tokens": 36, "eos_token_id": 2, "prompts": prompts, "generations": {}, "log_likelihoods": []}
    for name, settings in SETTINGS.items():
        result["generations"][name] = []
        for prompt in prompts:
            with torch.inference_mode():
                ids = model.generate(input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                                     max_new_tokens=36, do_sample=False, pad_token_id=0, eos_token_id=2, **settings)[0]
            result["generations"][name].append(ids[len(prompt):].tolist())
    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=8)
    generator = torch.Generator().manual_seed(0)
    requests = []
    for i, prompt in enumerate(prompts):
        greedy = result["generations"]["beams_3"][i][:5]
        choices = [greedy] + [torch.randint(3, 1024, (n,), generator=generator).tolist() for n in (1, 2, 4)]
        requests += [(prompt, choice) for choice in choices]
    # What lm_eval does with requests once they are tokens; the texts only name them.
    scores = lm._loglikelihood_tokens([((str(i), ""), context, choice) for i, (context, choice) in enumerate(requests)])
    for (context, choice), (log_likelihood, is_greedy) in zip(requests, scores):
        result["log_likelihoods"].append({"prompt": prompts.index(context), "continuation": choice,
                                          "log_likelihood": log_likelihood, "is_greedy": bool(is_greedy)})
    with open(out, "w") as file:
        json.dump(result, file)
        file.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
