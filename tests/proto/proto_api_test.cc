// The style of the schema, and that what clients and stored logs rely on does not change: every field that api.txt names
// must still be there with its number and type. Fields may be added freely; MERGANSER_UPDATE_API=1 writes the file anew.
#include <google/protobuf/descriptor.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "merganser/v1/fleet_service.pb.h"
#include "merganser/v1/job_service.pb.h"
#include "merganser/v1/worker_service.pb.h"

namespace merganser {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;

constexpr char kApi[] = MG_SOURCE_DIR "/tests/proto/api.txt";

// Every file of ours that the services reach.
void Reach(const FileDescriptor* file, std::set<const FileDescriptor*>* files) {
  if (!absl::StartsWith(file->package(), "merganser") || !files->insert(file).second) return;
  for (int i = 0; i < file->dependency_count(); ++i) Reach(file->dependency(i), files);
}

std::set<const FileDescriptor*> Files() {
  std::set<const FileDescriptor*> files;
  Reach(v1::CreateJobRequest::descriptor()->file(), &files);
  Reach(v1::ListWorkersRequest::descriptor()->file(), &files);
  Reach(v1::Hello::descriptor()->file(), &files);
  return files;
}

std::vector<const Descriptor*> Messages() {
  std::vector<const Descriptor*> messages;
  for (const FileDescriptor* file : Files()) {
    for (int i = 0; i < file->message_type_count(); ++i) messages.push_back(file->message_type(i));
  }
  return messages;
}

std::vector<const ServiceDescriptor*> Services() {
  std::vector<const ServiceDescriptor*> services;
  for (const FileDescriptor* file : Files()) {
    for (int i = 0; i < file->service_count(); ++i) services.push_back(file->service(i));
  }
  return services;
}

// "JobSpec.seed 2 uint64", "JobService.CreateJob CreateJobRequest CreateJobResponse".
std::set<std::string> Api() {
  std::set<std::string> lines;
  for (const Descriptor* message : Messages()) {
    for (int i = 0; i < message->field_count(); ++i) {
      const FieldDescriptor* field = message->field(i);
      std::string type =
          field->message_type() != nullptr ? std::string(field->message_type()->full_name()) : field->type_name();
      if (field->is_map()) {
        const Descriptor* entry = field->message_type();
        type = absl::StrCat("map ", entry->field(0)->type_name(), " ",
                            entry->field(1)->message_type() != nullptr
                                ? std::string(entry->field(1)->message_type()->full_name())
                                : entry->field(1)->type_name());
      }
      lines.insert(absl::StrCat(message->name(), ".", field->name(), " ", field->number(), " ",
                                field->is_repeated() && !field->is_map() ? "repeated " : "", type));
    }
  }
  for (const ServiceDescriptor* service : Services()) {
    for (int i = 0; i < service->method_count(); ++i) {
      const MethodDescriptor* method = service->method(i);
      lines.insert(absl::StrCat(service->name(), ".", method->name(), method->client_streaming() ? " stream " : " ",
                                method->input_type()->name(), method->server_streaming() ? " stream " : " ",
                                method->output_type()->name()));
    }
  }
  return lines;
}

TEST(ProtoApiTest, NothingThatClientsRelyOnHasChanged) {
  const std::set<std::string> now = Api();
  if (getenv("MERGANSER_UPDATE_API") != nullptr) {
    std::ofstream out(kApi);
    for (const std::string& line : now) out << line << "\n";
  }
  std::ifstream in(kApi);
  ASSERT_TRUE(in.good()) << kApi;
  for (std::string line; std::getline(in, line);) {
    EXPECT_EQ(now.count(line), 1u) << "gone or changed: " << line << "; old clients and old logs would break";
  }
}

TEST(ProtoApiTest, EveryCallHasARequestAndAResponseOfItsOwnName) {
  std::set<std::string> seen;
  for (const ServiceDescriptor* service : Services()) {
    EXPECT_TRUE(absl::EndsWith(service->name(), "Service")) << service->full_name();
    for (int i = 0; i < service->method_count(); ++i) {
      const MethodDescriptor* method = service->method(i);
      EXPECT_EQ(method->input_type()->name(), absl::StrCat(method->name(), "Request")) << method->full_name();
      EXPECT_EQ(method->output_type()->name(), absl::StrCat(method->name(), "Response")) << method->full_name();
      EXPECT_TRUE(seen.insert(std::string(method->input_type()->name())).second) << method->full_name();
    }
  }
  EXPECT_GE(seen.size(), 10u);
}

TEST(ProtoApiTest, FieldsAreLowerSnakeCaseAndTimesSayThatTheyAre) {
  for (const Descriptor* message : Messages()) {
    for (int i = 0; i < message->field_count(); ++i) {
      const FieldDescriptor* field = message->field(i);
      const std::string name(field->name());
      for (const char c : name) {
        EXPECT_TRUE(absl::ascii_islower(static_cast<unsigned char>(c)) ||
                    absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '_')
            << field->full_name();
      }
      if (field->message_type() != nullptr && field->message_type()->full_name() == "google.protobuf.Timestamp") {
        EXPECT_TRUE(name == "time" || absl::EndsWith(name, "_time")) << field->full_name();
      }
    }
  }
}

TEST(ProtoApiTest, ListsAreReadByPages) {
  for (const ServiceDescriptor* service : Services()) {
    for (int i = 0; i < service->method_count(); ++i) {
      const MethodDescriptor* method = service->method(i);
      const Descriptor* request = method->input_type();
      if (!absl::StartsWith(method->name(), "List") || request->FindFieldByName("page_size") == nullptr) continue;
      EXPECT_NE(request->FindFieldByName("page_token"), nullptr) << request->full_name();
      EXPECT_NE(method->output_type()->FindFieldByName("next_page_token"), nullptr) << method->full_name();
    }
  }
}

}  // namespace
}  // namespace merganser
