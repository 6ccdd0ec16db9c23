package io.asherah.reactive.testservers;

import java.time.Instant;
import java.time.ZoneId;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.time.zone.ZoneOffsetTransition;
import java.time.zone.ZoneOffsetTransitionRule;
import java.time.zone.ZoneRules;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * What {@code mysql_tzinfo_to_sql} writes, which is not in the distributions, from the zones that
 * Java knows.
 */
final class TimeZoneTables {
  /** The server reckons with 32 bits: from December 1901 to January 2038. */
  private static final Instant FIRST = Instant.ofEpochSecond(Integer.MIN_VALUE);

  private static final int LAST_YEAR = 2037;

  private static final DateTimeFormatter ABBREVIATION =
      DateTimeFormatter.ofPattern("zzz", Locale.ENGLISH);

  /** What the server calls a transition type. */
  private record Type(int offset, boolean summer, String abbreviation) {}

  private TimeZoneTables() {}

  /** Statements to execute in this order on one connection, in the database {@code mysql}. */
  static List<String> insert(ZoneId zone) {
    ZoneRules rules = zone.getRules();
    // The first type is that of the time before the first transition.
    Map<Type, Integer> types = new LinkedHashMap<>();
    types.put(type(zone, FIRST), 0);
    List<String> transitions = new ArrayList<>();
    for (ZoneOffsetTransition transition : transitions(rules)) {
      Type type = type(zone, transition.getInstant());
      types.putIfAbsent(type, types.size());
      transitions.add("(@id, %d, %d)".formatted(transition.toEpochSecond(), types.get(type)));
    }
    List<String> rows = new ArrayList<>();
    types.forEach(
        (type, id) ->
            rows.add(
                "(@id, %d, %d, %d, '%s')"
                    .formatted(id, type.offset(), type.summer() ? 1 : 0, type.abbreviation())));

    String name = zone.getId();
    List<String> statements = new ArrayList<>();
    statements.add("DELETE FROM time_zone_name WHERE Name = '" + name + "'");
    statements.add("INSERT INTO time_zone (Use_leap_seconds) VALUES ('N')");
    statements.add("SET @id = LAST_INSERT_ID()");
    statements.add(
        "INSERT INTO time_zone_transition_type"
            + " (Time_zone_id, Transition_type_id, `Offset`, Is_DST, Abbreviation) VALUES "
            + String.join(", ", rows));
    if (!transitions.isEmpty()) {
      statements.add(
          "INSERT INTO time_zone_transition (Time_zone_id, Transition_time, Transition_type_id)"
              + " VALUES "
              + String.join(", ", transitions));
    }
    // The last, or the server could find the zone before it is complete.
    statements.add("INSERT INTO time_zone_name VALUES ('" + name + "', @id)");
    return statements;
  }

  private static List<ZoneOffsetTransition> transitions(ZoneRules rules) {
    List<ZoneOffsetTransition> transitions = new ArrayList<>(rules.getTransitions());
    int first =
        transitions.isEmpty()
            ? 1970
            : transitions.get(transitions.size() - 1).getDateTimeBefore().getYear() + 1;
    List<ZoneOffsetTransitionRule> yearly = rules.getTransitionRules();
    for (int year = first; year <= LAST_YEAR; year++) {
      for (ZoneOffsetTransitionRule rule : yearly) {
        transitions.add(rule.createTransition(year));
      }
    }
    transitions.removeIf(transition -> !transition.getInstant().isAfter(FIRST));
    transitions.sort(null);
    return transitions;
  }

  private static Type type(ZoneId zone, Instant instant) {
    ZoneRules rules = zone.getRules();
    String abbreviation =
        instant.isBefore(Instant.EPOCH)
            ? "LMT"
            : ABBREVIATION.format(ZonedDateTime.ofInstant(instant, zone));
    return new Type(
        rules.getOffset(instant).getTotalSeconds(),
        rules.isDaylightSavings(instant),
        // The column has eight characters.
        abbreviation.substring(0, Math.min(8, abbreviation.length())));
  }
}
