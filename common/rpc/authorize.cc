#include "common/rpc/authorize.h"

#include <openssl/crypto.h>

#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "common/base/closest_name.h"
#include "common/base/file_stamp.h"
#include "common/base/files.h"
#include "common/base/log.h"
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

struct Token {
  Role role;
  std::string secret;
  std::string who;
};

absl::StatusOr<std::vector<Token>> ReadTokens(const std::string& path) {
  MG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kTokenFileBytesMax));
  std::vector<Token> tokens;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    const std::vector<absl::string_view> words = absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.empty() || words[0][0] == '#') continue;
    const std::string where = absl::StrCat(path, ":", number, ": ");
    if (words.size() != 2 && words.size() != 3) {
      return absl::InvalidArgumentError(absl::StrCat(where, "a line is \"role token\" or \"role token name\""));
    }
    const std::optional<Role> role = ParseRole(words[0]);
    if (!role) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "no role '", words[0], "'", DidYouMean(words[0], {"viewer", "submitter", "admin", "worker"})));
    }
    if (words[1].size() < kTokenLengthMin) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "the token has ", words[1].size(), " characters, fewer than ", kTokenLengthMin));
    }
    if (words.size() == 3 && words[2].size() > kNameLengthMax) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "the name has ", words[2].size(), " characters, more than ", kNameLengthMax));
    }
    std::string who(words[0]);
    if (words.size() == 3) absl::StrAppend(&who, "/", words[2]);
    tokens.push_back({*role, std::string(words[1]), std::move(who)});
  }
  if (tokens.empty()) return absl::InvalidArgumentError(absl::StrCat(path, ": holds no token"));
  return tokens;
}

}  // namespace

// Thread-safe.
class Authorizer::Tokens {
 public:
  Tokens(std::string path, const Clock& clock) : path_(std::move(path)), clock_(clock), looked_at_(clock.Monotonic()) {}

  absl::Status Read() {
    absl::MutexLock lock(&mu_);
    return ReadLocked();
  }
  // Those of now.
  std::shared_ptr<const std::vector<Token>> Get() {
    absl::MutexLock lock(&mu_);
    const absl::Duration now = clock_.Monotonic();
    if (now - looked_at_ >= kReload) {
      looked_at_ = now;
      if (Stamp() != stamp_) {
        const absl::Status read = ReadLocked();
        if (read.ok()) {
          MG_LOG(INFO) << "token file read again path=" << path_ << " tokens=" << tokens_->size();
        } else {
          MG_LOG(ERROR) << "token file cannot be read again, its old tokens stay error=\"" << read.message() << '"';
        }
      }
    }
    return tokens_;
  }

 private:
  // A file that cannot be looked at has a stamp of its own.
  FileStamp Stamp() const { return StampAt(path_).value_or(FileStamp{}); }
  absl::Status ReadLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    stamp_ = Stamp();  // before it is read: a change meanwhile is seen the next time
    absl::StatusOr<std::vector<Token>> tokens = ReadTokens(path_);
    MG_RETURN_IF_ERROR(tokens.status());
    tokens_ = std::make_shared<const std::vector<Token>>(*std::move(tokens));
    return absl::OkStatus();
  }

  const std::string path_;
  const Clock& clock_;
  absl::Mutex mu_;
  absl::Duration looked_at_ ABSL_GUARDED_BY(mu_);
  FileStamp stamp_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<const std::vector<Token>> tokens_ ABSL_GUARDED_BY(mu_);
};

absl::string_view ToString(Role role) {
  switch (role) {
    case Role::kViewer:
      return "viewer";
    case Role::kSubmitter:
      return "submitter";
    case Role::kAdmin:
      return "admin";
    case Role::kWorker:
      return "worker";
  }
  return "unknown";
}

absl::StatusOr<Authorizer> Authorizer::Create(const ServerSecurity& security, const Clock& clock) {
  Authorizer authorizer;
  authorizer.open_ = security.token_file.empty() && security.tls_ca.empty();
  if (security.token_file.empty()) return authorizer;
  authorizer.tokens_ = std::make_shared<Tokens>(security.token_file, clock);
  MG_RETURN_IF_ERROR(authorizer.tokens_->Read());
  return authorizer;
}

absl::Status Authorizer::Check(absl::string_view bearer_token, const std::vector<std::string>& common_names, Role needed,
                               std::string* who) const {
  if (who != nullptr) who->clear();
  if (open_) return absl::OkStatus();
  std::optional<Role> held;
  std::string holder;
  if (!bearer_token.empty()) {
    const auto tokens = tokens_ != nullptr ? tokens_->Get() : std::make_shared<const std::vector<Token>>();
    for (const Token& token : *tokens) {  // no early exit: every token is compared
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
