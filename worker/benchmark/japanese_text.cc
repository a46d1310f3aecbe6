#include "worker/benchmark/japanese_text.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <vector>

#include "worker/benchmark/text_forms.h"
#include "worker/benchmark/utf8.h"

namespace merganser {
namespace {

struct EmojiRange {
  uint32_t first, last;
};

// Both kinds of emoji (see the header) together; from emoji 2.16.0:
//   python -c "import emoji; print([hex(ord(k)) for k in emoji.EMOJI_DATA if len(k) == 1])"
constexpr EmojiRange kEmoji[] = {
    {0xA9, 0xA9},       {0xAE, 0xAE},       {0x203C, 0x203C},   {0x2049, 0x2049},   {0x2122, 0x2122},   {0x2139, 0x2139},
    {0x2194, 0x2199},   {0x21A9, 0x21AA},   {0x231A, 0x231B},   {0x2328, 0x2328},   {0x23CF, 0x23CF},   {0x23E9, 0x23F3},
    {0x23F8, 0x23FA},   {0x24C2, 0x24C2},   {0x25AA, 0x25AB},   {0x25B6, 0x25B6},   {0x25C0, 0x25C0},   {0x25FB, 0x25FE},
    {0x2600, 0x2604},   {0x260E, 0x260E},   {0x2611, 0x2611},   {0x2614, 0x2615},   {0x2618, 0x2618},   {0x261D, 0x261D},
    {0x2620, 0x2620},   {0x2622, 0x2623},   {0x2626, 0x2626},   {0x262A, 0x262A},   {0x262E, 0x262F},   {0x2638, 0x263A},
    {0x2640, 0x2640},   {0x2642, 0x2642},   {0x2648, 0x2653},   {0x265F, 0x2660},   {0x2663, 0x2663},   {0x2665, 0x2666},
    {0x2668, 0x2668},   {0x267B, 0x267B},   {0x267E, 0x267F},   {0x2692, 0x2697},   {0x2699, 0x2699},   {0x269B, 0x269C},
    {0x26A0, 0x26A1},   {0x26A7, 0x26A7},   {0x26AA, 0x26AB},   {0x26B0, 0x26B1},   {0x26BD, 0x26BE},   {0x26C4, 0x26C5},
    {0x26C8, 0x26C8},   {0x26CE, 0x26CF},   {0x26D1, 0x26D1},   {0x26D3, 0x26D4},   {0x26E9, 0x26EA},   {0x26F0, 0x26F5},
    {0x26F7, 0x26FA},   {0x26FD, 0x26FD},   {0x2702, 0x27B0},   {0x27BF, 0x27BF},   {0x2934, 0x2935},   {0x2B05, 0x2B07},
    {0x2B1B, 0x2B1C},   {0x2B50, 0x2B50},   {0x2B55, 0x2B55},   {0x3030, 0x3030},   {0x303D, 0x303D},   {0x3297, 0x3297},
    {0x3299, 0x3299},   {0x1F004, 0x1F004}, {0x1F0CF, 0x1F0CF}, {0x1F170, 0x1F171}, {0x1F17E, 0x1F17F}, {0x1F18E, 0x1F18E},
    {0x1F191, 0x1F19A}, {0x1F1E0, 0x1F1FF}, {0x1F201, 0x1F202}, {0x1F21A, 0x1F21A}, {0x1F22F, 0x1F22F}, {0x1F232, 0x1F23A},
    {0x1F250, 0x1F251}, {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FF}, {0x1F7E0, 0x1F7EB}, {0x1F7F0, 0x1F7F0}, {0x1F90C, 0x1F93A},
    {0x1F93C, 0x1F945}, {0x1F947, 0x1F9FF}, {0x1FA70, 0x1FA7C}, {0x1FA80, 0x1FAC6}, {0x1FAC8, 0x1FAC8}, {0x1FACC, 0x1FADD},
    {0x1FADF, 0x1FAEB}, {0x1FAEF, 0x1FAFA},
};

// Half-width katakana and punctuation, U+FF61 .. U+FF9F but U+FF70.
constexpr char32_t kWideKana[] =
    U"\u3002\u300c\u300d\u3001\u30fb\u30f2\u30a1\u30a3\u30a5\u30a7\u30a9\u30e3\u30e5\u30e7\u30c3\u30fc\u30a2\u30a4\u30a6"
    U"\u30a8\u30aa"
    U"\u30ab\u30ad\u30af\u30b1\u30b3\u30b5\u30b7\u30b9\u30bb\u30bd\u30bf\u30c1\u30c4\u30c6\u30c8\u30ca\u30cb\u30cc\u30cd"
    U"\u30ce\u30cf\u30d2"
    U"\u30d5\u30d8\u30db\u30de\u30df\u30e0\u30e1\u30e2\u30e4\u30e6\u30e8\u30e9\u30ea\u30eb\u30ec\u30ed\u30ef\u30f3";

constexpr uint32_t kVoiced = 0xFF9E, kHalfVoiced = 0xFF9F;  // half-width (han)dakuten, which join what is before them

void AppendUtf8(uint32_t c, std::string* out) {
  if (c < 0x80) {
    *out += static_cast<char>(c);
    return;
  }
  const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  *out += static_cast<char>((more == 1 ? 0xC0 : more == 2 ? 0xE0 : 0xF0) | (c >> (6 * more)));
  for (int i = more - 1; i >= 0; --i) *out += static_cast<char>(0x80 | ((c >> (6 * i)) & 0x3F));
}

bool IsHyphen(uint32_t c) {
  constexpr uint32_t all[] = {0x02D7, 0x058A, 0x2010, 0x2011, 0x2012, 0x2013, 0x2043, 0x207B, 0x208B, 0x2212};
  return std::find(std::begin(all), std::end(all), c) != std::end(all);
}

bool IsSoundMark(uint32_t c) {
  constexpr uint32_t all[] = {0xFE63, 0xFF0D, 0xFF70, 0x2014, 0x2015, 0x2500, 0x2501, 0x30FC};
  return std::find(std::begin(all), std::end(all), c) != std::end(all);
}

bool IsTilde(uint32_t c) {
  constexpr uint32_t all[] = {0x007E, 0x223C, 0x223E, 0x301C, 0x3030, 0xFF5E};
  return std::find(std::begin(all), std::end(all), c) != std::end(all);
}

// Characters that spaces do not stand beside.
bool IsJapanese(uint32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3000 && c <= 0x30FF) || (c >= 0xFF00 && c <= 0xFFEF);
}

uint32_t Converted(uint32_t c) {
  switch (c) {
    case 0x201D:
      return '"';
    case 0x2019:
      return '\'';
    case 0x2018:
      return '`';
    case 0x00A5:
      return '\\';
    case 0x309B:
      return kVoiced;
    case 0x309C:
      return kHalfVoiced;
    case 0xFF02:
    case 0xFF07:
    case 0xFF3C:
    case 0xFF40:
      return c;
    default:
      break;
  }
  if (c >= 0xFF01 && c <= 0xFF5D) return c - 0xFEE0;
  if (c >= 0xFF61 && c < kVoiced) return kWideKana[c - 0xFF61];
  return c;
}

// `c` with (han)dakuten; 0 if it takes none. Of hiragana neologdn knows the ha row with handakuten only, and u with dakuten.
uint32_t Joined(uint32_t c, uint32_t mark) {
  const bool ha_row = c >= 0x30CF && c <= 0x30DB && (c - 0x30CF) % 3 == 0;
  const bool hiragana_ha_row = c >= 0x306F && c <= 0x307B && (c - 0x306F) % 3 == 0;
  if (mark == kHalfVoiced) return ha_row || hiragana_ha_row ? c + 2 : 0;
  if (c == 0x30A6 || c == 0x3046) return c + 0x4E;
  const bool ka_to_chi = c >= 0x30AB && c <= 0x30C1 && c % 2 == 1;
  const bool tsu_to_to = c == 0x30C4 || c == 0x30C6 || c == 0x30C8;
  return ka_to_chi || tsu_to_to || ha_row ? c + 1 : 0;
}

}  // namespace

std::string WithoutEmoji(absl::string_view text) {
  std::string out;
  while (!text.empty()) {
    uint32_t c = 0;
    const int length = Utf8Character(text, &c);
    const absl::string_view bytes = text.substr(0, std::max(1, length));
    const auto range = std::lower_bound(std::begin(kEmoji), std::end(kEmoji), c,
                                        [](const EmojiRange& r, uint32_t x) { return r.last < x; });
    if (length < 1 || range == std::end(kEmoji) || c < range->first) out.append(bytes.data(), bytes.size());
    text.remove_prefix(bytes.size());
  }
  return out;
}

std::string NormalizedJapanese(absl::string_view text) {
  std::vector<uint32_t> out;
  uint32_t before = 0;  // the character before, as it became
  // A space after a Latin character waits: whether it stays depends on what follows.
  bool waiting = false;
  while (!text.empty()) {
    uint32_t c = 0;
    const int length = std::max(1, Utf8Character(text, &c));
    text.remove_prefix(length);
    if (c == ' ' || c == 0x3000) {
      if (before == ' ' || IsJapanese(before)) continue;
      before = ' ';
      if (out.empty() || out.back() == '*' || out.back() >= 0x80) continue;
      waiting = true;
      out.push_back(' ');
      continue;
    }
    if (IsTilde(c)) continue;
    if (IsHyphen(c) || IsSoundMark(c)) {
      c = IsHyphen(c) ? '-' : 0x30FC;
      if (before == c) continue;
    } else {
      c = Converted(c);
      if (const uint32_t joined = c == kVoiced || c == kHalfVoiced ? Joined(before, c) : 0; joined != 0) {
        out.pop_back();
        c = joined;
      }
      if (waiting && IsJapanese(c)) out.pop_back();
      waiting = false;
    }
    out.push_back(c);
    before = c;
  }
  if (!out.empty() && out.back() == ' ') out.pop_back();
  std::string utf8;
  for (const uint32_t c : out) AppendUtf8(c, &utf8);
  return utf8;
}

std::string ForRouge(absl::string_view text) {
  const std::string normalized = NormalizedJapanese(WithoutEmoji(text));
  std::string out;
  bool space = false;
  absl::string_view rest = normalized;
  while (!rest.empty()) {
    const absl::string_view character = rest.substr(0, std::max(1, Utf8Character(rest, nullptr)));
    rest.remove_prefix(character.size());
    if (StripWhitespace(character).empty()) {
      space = !out.empty();
      continue;
    }
    if (space) out += ' ';
    space = false;
    out.append(character.data(), character.size());
  }
  return out;
}

}  // namespace merganser
