#include "common/rpc/authorize.h"

#include <openssl/crypto.h>

#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/closest_name.h"
#include "common/base/files.h"
#include "common/base/sha256.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

constexpr int64_t kTokenFileBytesMax = 1 << 20;
constexpr size_t kTokenLengthMin = 16;  // below, it can be guessed over the network
constexpr size_t kNameLengthMax = 64;

std::optional<Role> ParseRole(absl::string_view word) {
  for (Role role : {Role::kViewer, Role::kSubmitter, Role::kAdmin, Role::kWorker}) {
    if (word == ToString(role)) return role;
  }
  return std::nullopt;
}

bool Includes(Role held, Role needed) {
  if (held == Role::kWorker || needed == Role::kWorker) return held == needed;
  return held >= needed;
}

// Equal digests of equal length: neither content nor length of the secret shows in the time.
bool SameSecret(absl::string_view a, absl::string_view b) {
  const std::string x = Sha256Hex(a), y = Sha256Hex(b);
  return CRYPTO_memcmp(x.data(), y.data(), x.size()) == 0;
}

}  // namespace

absl::string_view ToString(Role role) {
  switch (role) {
    case Role::kViewer: return "viewer";
    case Role::kSubmitter: return "submitter";
    case Role::kAdmin: return "admin";
    case Role::kWorker: return "worker";
  }
  return "unknown";
}

absl::StatusOr<Authorizer> Authorizer::Create(const ServerSecurity& security) {
  Authorizer authorizer;
  authorizer.open_ = security.token_file.empty() && security.tls_ca.empty();
  if (security.token_file.empty()) return authorizer;
  MG_ASSIGN_OR_RETURN(const std::string text, ReadFile(security.token_file, kTokenFileBytesMax));
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    const std::vector<absl::string_view> words = absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.empty() || words[0][0] == '#') continue;
    const std::string where = absl::StrCat(security.token_file, ":", number, ": ");
    if (words.size() != 2 && words.size() != 3) {
      return absl::InvalidArgumentError(absl::StrCat(where, "a line is \"role token\" or \"role token name\""));
    }
    const std::optional<Role> role = ParseRole(words[0]);
    if (!role) {
      return absl::InvalidArgumentError(absl::StrCat(where, "no role '", words[0], "'",
                                                     DidYouMean(words[0], {"viewer", "submitter", "admin", "worker"})));
    }
    if (words[1].size() < kTokenLengthMin) {
      return absl::InvalidArgumentError(absl::StrCat(where, "the token has ", words[1].size(), " characters, fewer than ",
                                                     kTokenLengthMin));
    }
    if (words.size() == 3 && words[2].size() > kNameLengthMax) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "the name has ", words[2].size(), " characters, more than ", kNameLengthMax));
    }
    std::string who(words[0]);
    if (words.size() == 3) absl::StrAppend(&who, "/", words[2]);
    authorizer.tokens_.push_back({*role, std::string(words[1]), std::move(who)});
  }
  if (authorizer.tokens_.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(security.token_file, ": holds no token"));
  }
  return authorizer;
}

absl::Status Authorizer::Check(absl::string_view bearer_token, const std::vector<std::string>& common_names, Role needed,
                               std::string* who) const {
  if (who != nullptr) who->clear();
  if (open_) return absl::OkStatus();
  std::optional<Role> held;
  std::string holder;
  if (!bearer_token.empty()) {
    for (const Token& token : tokens_) {  // no early exit: every token is compared
      if (!SameSecret(bearer_token, token.secret)) continue;
      held = token.role;
      holder = token.who;
    }
    if (!held) return absl::UnauthenticatedError("the token is not known here");
  } else {
    for (const std::string& name : common_names) {
      const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(name, absl::MaxSplits('/', 1));
      if (const auto role = ParseRole(parts.first)) {
        held = role;
        holder = name;
      }
    }
    if (!held) {
      return absl::UnauthenticatedError(
          "this call needs a token (authorization: Bearer ...) or a client certificate whose common name is a role");
    }
  }
  if (Includes(*held, needed)) {
    if (who != nullptr) *who = std::move(holder);
    return absl::OkStatus();
  }
  return absl::PermissionDeniedError(
      absl::StrCat("role ", ToString(*held), " may not do this; it needs ", ToString(needed)));
}

absl::Status Authorizer::Authorize(const grpc::ServerContextBase& context, Role needed, std::string* who) const {
  if (open_) return Check("", {}, needed, who);
  std::string bearer;
  const auto& metadata = context.client_metadata();
  if (const auto it = metadata.find("authorization"); it != metadata.end()) {
    absl::string_view value(it->second.data(), it->second.size());
    if (!absl::ConsumePrefix(&value, "Bearer ")) return absl::UnauthenticatedError("authorization is not \"Bearer TOKEN\"");
    bearer = std::string(value);
  }
  std::vector<std::string> names;
  const auto auth = context.auth_context();
  if (auth != nullptr && auth->IsPeerAuthenticated()) {
    for (const auto& name : auth->FindPropertyValues("x509_common_name")) names.emplace_back(name.data(), name.size());
  }
  return Check(bearer, names, needed, who);
}

absl::StatusOr<std::string> ReadClientToken(const std::string& path) {
  MG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kTokenFileBytesMax));
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.empty() || words[0][0] == '#') continue;
    return std::string(words.size() == 1 ? words[0] : words[1]);
  }
  return absl::InvalidArgumentError(absl::StrCat(path, ": holds no token"));
}

}  // namespace merganser
