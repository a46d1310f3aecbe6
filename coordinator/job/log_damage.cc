#include "coordinator/job/log_damage.h"

#include "absl/strings/str_cat.h"

namespace merganser {

std::string DamagedJobMessage(absl::string_view job_id, absl::string_view damage, absl::string_view store_uri) {
  return absl::StrCat(
      "its log is damaged (", damage, "), so it is set aside and nothing is written to it. `merganser store verify ",
      store_uri,
      "` checks the whole store. The way out, with the coordinator stopped: `merganser store restore "
      "BACKUP.db NEW_STORE` brings "
      "back a backup, `merganser store migrate --salvage ",
      store_uri,
      " NEW_STORE` copies all that comes before the damage, and with `--backup BACKUP.db` what is damaged from there; then start it with `--store NEW_STORE`. If the "
      "log was mended where "
      "it is, `merganser resume ",
      job_id, "` reads it again");
}

}  // namespace merganser
