// serve: an OpenAI-compatible endpoint of one checkpoint.
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "client/exit_code.h"
#include "client/interrupt.h"
#include "client/local_options.h"
#include "client/print_message.h"
#include "client/verb.h"
#include "common/base/status_macros.h"
#include "common/cli/number_checks.h"

namespace merganser {
namespace {

struct ServeOptions {
  ServeRequest request;
  LocalOptions local;
};

bool IsLoopback(const std::string& host) { return host == "localhost" || host == "::1" || absl::StartsWith(host, "127."); }

absl::StatusOr<int> Serve(const ServeOptions& options) {
  Interrupt interrupt("stopping");
  MG_ASSIGN_OR_RETURN(LocalLibrary* const library, LoadLocalLibrary());
  ServeRequest request = options.request;
  if (const char* key = std::getenv("MERGANSER_API_KEY"); request.api_key.empty() && key != nullptr) request.api_key = key;
  if (!IsLoopback(request.host) && request.api_key.empty()) {
    std::cerr << "warning: " << request.host << " may be reached from other machines, and there is no --api-key\n";
  }
  request.ready = [](const ServeFacts& facts) {
    std::cerr << facts.engine << ", " << facts.max_sequences << " sequences of up to " << facts.max_length << " tokens\n";
    // The one line on stdout: a program that started us waits for it.
    Print(absl::StrCat("serving ", facts.model, " at ", facts.base_url, "\n"));
    std::cout.flush();
  };
  const absl::Status status = library->Serve(request, options.local, interrupt.token());
  if (interrupt.signal() != 0) return exit_code::kOk;
  if (!status.ok()) return AtModelArgument(status);
  return exit_code::kOk;
}

}  // namespace

void AddServeCommand(CLI::App& app, Action* chosen) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* verb =
      AddVerb(app, "serve", "Serves a checkpoint at an OpenAI-compatible endpoint, until Ctrl-C",
              "  merganser serve out/ja-math/best --port 8000 &\n"
              "  curl -s http://127.0.0.1:8000/v1/completions -H 'Content-Type: application/json' \\\n"
              "    -d '{\"model\": \"best\", \"prompt\": \"Q: 3+4?\\nA:\\n\", \"max_tokens\": 12, \"temperature\": 0}'",
              options, &Serve, chosen);
  ServeRequest& request = options->request;
  verb->add_option("MODEL", request.model,
                   "Directory, or a Hub id (org/name), which is downloaded if the local cache lacks it")
      ->required();
  verb->add_option("--name", request.name, "Name of the model in requests (default: the last part of MODEL)");
  verb->add_option("--host", request.host, "Address to listen at; 0.0.0.0 for every one of this machine")
      ->capture_default_str();
  verb->add_option("--port", request.port, "Port; 0: any that is free")->check(CLI::Range(0, 65535))->capture_default_str();
  verb->add_option("--api-key", request.api_key, "Requests must bear this key (default: environment's MERGANSER_API_KEY)");
  verb->add_option("--max-length", request.max_length,
                   "Tokens of a prompt with its completion; 0: the model's, at most 4096")
      ->check(NonNegativeNumber())
      ->capture_default_str();
  verb->add_option("--max-sequences", options->local.max_sequences, "Completions that are generated together; 0: 32")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  verb->add_option("--max-queue", request.queue, "Completions that may wait; beyond it requests get status 429")
      ->check(PositiveNumber())
      ->capture_default_str();
  verb->add_option("--connections", request.connections, "Requests that are answered at a time; more wait")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  AddLocalOptions(verb, &options->local);
}

}  // namespace merganser
