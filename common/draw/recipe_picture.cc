#include "common/draw/recipe_picture.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/draw/html.h"

namespace merganser {
namespace {

constexpr double kWidth = 900, kLabels = 150, kRight = 20, kRow = 22, kScales = 60;

// A row of a stack's picture: a parameter of one source, or (source -1) of the method.
struct Row {
  int source;
  std::string parameter;
  std::string Label(const Stack& stack) const {
    return source < 0 ? parameter : absl::StrCat(parameter, " of ", stack.sources[static_cast<size_t>(source)]);
  }
  std::optional<double> Value(const GroupSettings& settings) const {
    const std::map<std::string, double>* values = &settings.parameters;
    if (source >= 0) {
      if (static_cast<size_t>(source) >= settings.source_parameters.size()) return std::nullopt;
      values = &settings.source_parameters[static_cast<size_t>(source)];
    }
    const auto it = values->find(parameter);
    return it == values->end() ? std::nullopt : std::optional(it->second);
  }
};

std::vector<Row> RowsOf(const Stack& stack) {
  std::map<std::string, bool> of_sources, of_method;
  for (const GroupSettings& settings : stack.settings) {
    for (const auto& parameters : settings.source_parameters) {
      for (const auto& [name, value] : parameters) of_sources[name] = true;
    }
    for (const auto& [name, value] : settings.parameters) of_method[name] = true;
  }
  std::vector<Row> rows;
  for (const auto& [name, used] : of_sources) {
    for (size_t s = 0; s < stack.sources.size(); ++s) rows.push_back({static_cast<int>(s), name});
  }
  for (const auto& [name, used] : of_method) rows.push_back({-1, name});
  return rows;
}

// Range of `parameter` for colours.
Bounds RangeOf(const Stack& stack, const std::vector<Row>& rows, const std::string& parameter,
               const ParameterBounds& bounds) {
  if (const auto it = bounds.find(parameter); it != bounds.end() && it->second.high > it->second.low) return it->second;
  std::optional<Bounds> range;
  for (const Row& row : rows) {
    if (row.parameter != parameter) continue;
    for (const GroupSettings& settings : stack.settings) {
      const std::optional<double> value = row.Value(settings);
      if (!value.has_value()) continue;
      if (!range.has_value()) range = Bounds{*value, *value};
      range = Bounds{std::min(range->low, *value), std::max(range->high, *value)};
    }
  }
  if (!range.has_value()) return {0, 1};
  if (range->low >= 0 && range->high <= 1) return {0, 1};
  return range->high > range->low ? *range : Bounds{std::min(0.0, range->low), std::max(1.0, range->high)};
}

// Viridis at five stops: even in lightness, told apart by most colour-blind eyes, visible on white and on black.
std::string Colour(double share) {
  static constexpr std::array<std::array<int, 3>, 5> kStops = {
      {{68, 1, 84}, {59, 82, 139}, {33, 145, 140}, {94, 201, 98}, {253, 231, 37}}};
  const double at = std::clamp(share, 0.0, 1.0) * 4;
  const size_t i = std::min<size_t>(3, static_cast<size_t>(at));
  std::array<int, 3> rgb;
  for (size_t k = 0; k < 3; ++k) {
    rgb[k] = static_cast<int>(std::lround(kStops[i][k] + (at - static_cast<double>(i)) * (kStops[i + 1][k] - kStops[i][k])));
  }
  return absl::StrFormat("#%02x%02x%02x", rgb[0], rgb[1], rgb[2]);
}

// "layer.12" -> "12": the number is enough below an axis.
std::string ShortName(const std::string& group) {
  if (absl::StartsWith(group, "layer.")) return group.substr(6);
  if (absl::StartsWith(group, "layers.")) return group.substr(7);
  return group;
}

void Legend(const std::string& parameter, const Bounds& range, double y, std::string* svg) {
  constexpr int kSteps = 24;
  constexpr double kStep = 6;
  absl::StrAppendFormat(svg, "<text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">%s %.4g</text>", kLabels - 6, y + 10,
                        EscapeHtml(parameter), range.low);
  for (int i = 0; i < kSteps; ++i) {
    absl::StrAppendFormat(svg, "<rect x=\"%.0f\" y=\"%.1f\" width=\"%.0f\" height=\"10\" fill=\"%s\"/>", kLabels + i * kStep,
                          y, kStep, Colour(static_cast<double>(i) / (kSteps - 1)));
  }
  absl::StrAppendFormat(svg, "<text x=\"%.0f\" y=\"%.1f\">%.4g</text>\n", kLabels + kSteps * kStep + 6, y + 10, range.high);
}

std::string StackTitle(const Stack& stack) {
  std::string title = absl::StrCat(stack.name, stack.name.empty() ? "" : ": ", stack.method);
  if (!stack.base.empty()) absl::StrAppend(&title, " on ", stack.base);
  return title;
}

bool IsMerge(const Stack& stack) { return !stack.method.empty(); }

// Where everything of a route's picture lies: a band of layers for each stack, from top to bottom, layer 0 at a band's
// bottom; below them the hops' scales, where one is not 1; a column for each hop.
struct Route {
  std::vector<int> layers;     // of each stack, as far as the path goes; 0: it is not on the path
  std::vector<double> bottom;  // y of each band's end
  double row;                  // height of a layer
  double width;                // of a hop
  double below;                // y after the bands
  double deviation = 0;        // largest |scale - 1|

  bool scales() const { return deviation > 1e-9; }
  double ScaleMiddle() const { return below + kScales / 2; }
  double X(size_t hop) const { return kLabels + width * (static_cast<double>(hop) + 0.5); }
  double Y(const Hop& hop) const { return bottom[static_cast<size_t>(hop.stack)] - row * (hop.layer + 0.5); }
  double End(const Recipe& recipe) const { return kLabels + width * static_cast<double>(recipe.path.size()); }
};

// nullopt: a hop is of no stack. REQUIRES: there is a hop.
std::optional<Route> RouteOf(const Recipe& recipe) {
  Route route;
  route.layers.resize(recipe.stacks.size(), 0);
  for (const Hop& hop : recipe.path) {
    if (hop.stack < 0 || static_cast<size_t>(hop.stack) >= route.layers.size()) return std::nullopt;
    int& layers = route.layers[static_cast<size_t>(hop.stack)];
    layers = std::max(layers, hop.layer + 1);
    route.deviation = std::max(route.deviation, std::abs(hop.scale - 1));
  }
  int all_layers = 0;
  for (const int n : route.layers) all_layers += n;
  route.row = std::clamp(360.0 / all_layers, 5.0, 18.0);
  route.width = std::min((kWidth - kLabels - kRight) / static_cast<double>(recipe.path.size()), 40.0);
  route.below = 8;
  for (const int n : route.layers) {
    route.bottom.push_back(n == 0 ? 0 : route.below + route.row * n);
    if (n > 0) route.below = route.bottom.back() + 14;
  }
  return route;
}

void DrawBands(const Recipe& recipe, const Route& route, std::string* svg) {
  for (size_t s = 0; s < route.layers.size(); ++s) {
    if (route.layers[s] == 0) continue;
    const double height = route.row * route.layers[s], y = route.bottom[s] - height;
    absl::StrAppendFormat(svg, "<rect class=\"lane\" x=\"%.0f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>", kLabels, y,
                          route.End(recipe) - kLabels, height);
    absl::StrAppendFormat(svg,
                          "<text class=\"strong\" x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">%s</text>"
                          "<text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">%d</text>"
                          "<text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">0</text>\n",
                          kLabels - 26, y + height / 2 + 4, EscapeHtml(recipe.stacks[s].name), kLabels - 6, y + 9,
                          route.layers[s] - 1, kLabels - 6, y + height - 1);
  }
}

// The line through the layers, a dot for each hop, and below a bar for each scale.
void DrawHops(const Recipe& recipe, const Route& route, std::string* svg) {
  absl::StrAppend(svg, "<polyline class=\"route\" points=\"");
  for (size_t i = 0; i < recipe.path.size(); ++i)
    absl::StrAppendFormat(svg, "%.1f,%.1f ", route.X(i), route.Y(recipe.path[i]));
  absl::StrAppend(svg, "\"/>\n");
  const double radius = std::clamp(std::min(route.width, route.row) / 2 - 0.5, 2.0, 6.0);
  for (size_t i = 0; i < recipe.path.size(); ++i) {
    const Hop& hop = recipe.path[i];
    absl::StrAppendFormat(svg,
                          "<circle class=\"hop stack%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\">"
                          "<title>hop %d: layer %d of %s, scale %.4g</title></circle>\n",
                          hop.stack % 4, route.X(i), route.Y(hop), radius, static_cast<int>(i), hop.layer,
                          EscapeHtml(recipe.stacks[static_cast<size_t>(hop.stack)].name), hop.scale);
    if (!route.scales() || std::abs(hop.scale - 1) < 1e-9) continue;
    const double length = std::max(1.0, kScales / 2 * std::abs(hop.scale - 1) / route.deviation);
    absl::StrAppendFormat(svg,
                          "<rect class=\"scale\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\">"
                          "<title>hop %d: scale %.4g</title></rect>\n",
                          route.X(i) - route.width * 0.35, route.ScaleMiddle() - (hop.scale > 1 ? length : 0),
                          route.width * 0.7, length, static_cast<int>(i), hop.scale);
  }
}

void DrawScaleAxis(const Route& route, double end, std::string* svg) {
  const double middle = route.ScaleMiddle();
  absl::StrAppendFormat(svg,
                        "<line class=\"axis\" x1=\"%.0f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                        "<text class=\"strong\" x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">scale</text>"
                        "<text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">%.3g</text>"
                        "<text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">1</text>"
                        "<text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">%.3g</text>\n",
                        kLabels, end, middle, middle, kLabels - 46, middle + 4, kLabels - 6, route.below + 7,
                        1 + route.deviation, kLabels - 6, middle + 4, kLabels - 6, route.below + kScales + 2,
                        1 - route.deviation);
}

}  // namespace

std::string HeatmapSvg(const Stack& stack, const ParameterBounds& bounds) {
  const std::vector<Row> rows = RowsOf(stack);
  if (rows.empty() || stack.settings.empty()) return "";
  const double cell = (kWidth - kLabels - kRight) / static_cast<double>(stack.settings.size());
  const double width = std::min(cell, 60.0);
  std::vector<std::string> parameters;
  for (const Row& row : rows) {
    if (parameters.empty() || parameters.back() != row.parameter) parameters.push_back(row.parameter);
  }
  const double top = 8, rows_end = top + kRow * static_cast<double>(rows.size()), axis = rows_end + 14;
  const double height = axis + 12 + 18 * static_cast<double>(parameters.size());
  std::string svg = absl::StrFormat(
      "<svg class=\"picture\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"parameters of %s by group of tensors\">\n",
      kWidth, height, EscapeHtml(StackTitle(stack)));
  for (size_t r = 0; r < rows.size(); ++r) {
    const Bounds range = RangeOf(stack, rows, rows[r].parameter, bounds);
    const double y = top + kRow * static_cast<double>(r);
    const std::string label = rows[r].Label(stack);
    absl::StrAppendFormat(&svg, "<text class=\"strong\" x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", kLabels - 6,
                          y + 15, EscapeHtml(label.size() > 24 ? absl::StrCat(label.substr(0, 22), "...") : label));
    for (size_t g = 0; g < stack.settings.size(); ++g) {
      const std::optional<double> value = rows[r].Value(stack.settings[g]);
      const double x = kLabels + width * static_cast<double>(g);
      if (value.has_value()) {
        absl::StrAppendFormat(&svg,
                              "<rect class=\"cell\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.0f\" fill=\"%s\">"
                              "<title>%s, %s: %.4f</title></rect>\n",
                              x, y, width, kRow, Colour((*value - range.low) / (range.high - range.low)),
                              EscapeHtml(stack.settings[g].group.name), EscapeHtml(label), *value);
      } else {
        absl::StrAppendFormat(&svg,
                              "<rect class=\"cell unset\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.0f\">"
                              "<title>%s, %s: the method's default</title></rect>\n",
                              x, y, width, kRow, EscapeHtml(stack.settings[g].group.name), EscapeHtml(label));
      }
    }
  }
  // As many names below the columns as find room.
  size_t longest = 1;
  for (const GroupSettings& settings : stack.settings) longest = std::max(longest, ShortName(settings.group.name).size());
  const auto step = static_cast<size_t>(std::max(1.0, std::ceil((6.5 * static_cast<double>(longest) + 4) / width)));
  std::vector<size_t> named;
  for (size_t g = 0; g < stack.settings.size(); g += step) named.push_back(g);
  if (const size_t last = stack.settings.size() - 1; named.back() != last) {
    if (last - named.back() < step && named.size() > 1) named.pop_back();
    named.push_back(last);
  }
  for (const size_t g : named) {
    absl::StrAppendFormat(&svg, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n",
                          kLabels + width * (static_cast<double>(g) + 0.5), axis,
                          EscapeHtml(ShortName(stack.settings[g].group.name)));
  }
  for (size_t p = 0; p < parameters.size(); ++p) {
    Legend(parameters[p], RangeOf(stack, rows, parameters[p], bounds), axis + 10 + 18 * static_cast<double>(p), &svg);
  }
  return absl::StrCat(svg, "</svg>\n");
}

std::string RouteSvg(const Recipe& recipe) {
  if (recipe.path.empty()) return "";
  const std::optional<Route> route = RouteOf(recipe);
  if (!route.has_value()) return "";
  const double axis = route->below + (route->scales() ? kScales + 12 : 0);
  std::string svg = absl::StrFormat(
      "<svg class=\"picture\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"path of %d hops through the stacks' "
      "layers\">\n",
      kWidth, axis + 22, static_cast<int>(recipe.path.size()));
  DrawBands(recipe, *route, &svg);
  DrawHops(recipe, *route, &svg);
  if (route->scales()) DrawScaleAxis(*route, route->End(recipe), &svg);
  const auto every = static_cast<size_t>(std::max(1.0, std::ceil(24 / route->width)));
  for (size_t i = 0; i < recipe.path.size(); i += every) {
    absl::StrAppendFormat(&svg, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%d</text>\n", route->X(i), axis + 6,
                          static_cast<int>(i));
  }
  absl::StrAppendFormat(&svg, "<text x=\"%.0f\" y=\"%.1f\">hop, from the embedding to the head</text></svg>\n", kLabels,
                        axis + 20);
  return svg;
}

std::string RecipePictures(const Recipe& recipe, const ParameterBounds& bounds) {
  std::string html;
  for (const Stack& stack : recipe.stacks) {
    const std::string heatmap = IsMerge(stack) ? HeatmapSvg(stack, bounds) : "";
    if (heatmap.empty()) continue;
    absl::StrAppend(&html, "<figure><figcaption>", EscapeHtml(StackTitle(stack)), "</figcaption>", heatmap, "</figure>\n");
  }
  if (const std::string route = RouteSvg(recipe); !route.empty()) {
    absl::StrAppend(&html, "<figure><figcaption>path of ", recipe.path.size(), " hops</figcaption>", route, "</figure>\n");
  }
  return html;
}

std::string RecipeTables(const Recipe& recipe) {
  std::string html;
  for (const Stack& stack : recipe.stacks) {
    const std::vector<Row> rows = IsMerge(stack) ? RowsOf(stack) : std::vector<Row>();
    if (rows.empty()) continue;
    absl::StrAppend(&html, "<div class=\"scroll\"><table><caption>", EscapeHtml(StackTitle(stack)),
                    "</caption><thead><tr><th scope=\"col\">group</th>");
    for (const Row& row : rows)
      absl::StrAppend(&html, "<th scope=\"col\" class=\"n\">", EscapeHtml(row.Label(stack)), "</th>");
    absl::StrAppend(&html, "</tr></thead><tbody>\n");
    for (const GroupSettings& settings : stack.settings) {
      absl::StrAppend(&html, "<tr><th scope=\"row\">", EscapeHtml(settings.group.name), "</th>");
      for (const Row& row : rows) {
        const std::optional<double> value = row.Value(settings);
        absl::StrAppend(&html, "<td class=\"n\">", value.has_value() ? absl::StrFormat("%.4f", *value) : "default", "</td>");
      }
      absl::StrAppend(&html, "</tr>\n");
    }
    absl::StrAppend(&html, "</tbody></table></div>\n");
  }
  if (recipe.path.empty()) return html;
  absl::StrAppend(&html,
                  "<div class=\"scroll\"><table><caption>path</caption><thead><tr><th scope=\"col\" class=\"n\">hop</th>"
                  "<th scope=\"col\">stack</th><th scope=\"col\" class=\"n\">layer</th>"
                  "<th scope=\"col\" class=\"n\">scale</th></tr></thead><tbody>\n");
  for (size_t i = 0; i < recipe.path.size(); ++i) {
    const Hop& hop = recipe.path[i];
    const bool known = hop.stack >= 0 && static_cast<size_t>(hop.stack) < recipe.stacks.size();
    absl::StrAppendFormat(
        &html, "<tr><th scope=\"row\" class=\"n\">%d</th><td>%s</td><td class=\"n\">%d</td><td class=\"n\">%.4f</td></tr>\n",
        static_cast<int>(i), known ? EscapeHtml(recipe.stacks[static_cast<size_t>(hop.stack)].name) : "?", hop.layer,
        hop.scale);
  }
  return absl::StrCat(html, "</tbody></table></div>\n");
}

}  // namespace merganser
