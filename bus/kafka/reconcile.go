package kafka

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/bus/driver"
)

const (
	minSegment = 1 << 20 // Kafka 4 takes no smaller one.
	maxSegment = 128 << 20
	// historyLag is how long all records of a key stay on a topic that is to keep some of them: Kafka keeps all, or the
	// newest one.
	historyLag = 7 * 24 * time.Hour
	// removalLag is how long a removal stays after it was cleaned up. Whoever reads a topic from its beginning for longer
	// than that could miss one.
	removalLag = 24 * time.Hour
)

// topicConfigs is how Kafka is to keep a topic, but for what depends on the cluster. A segment is the least that goes at
// once, and the newest one neither goes nor is cleaned up: it is an eighth of what a partition may have, in bytes and in
// time.
func topicConfigs(t *topic) map[string]string {
	each := t.MaxBytes / int64(max(t.parts, 1))
	segment := int64(maxSegment)
	if t.MaxBytes > 0 {
		segment = min(max(each/8, minSegment), maxSegment)
	}
	roll := 24 * time.Hour
	if t.Keep > 0 {
		roll = min(max(t.Keep/8, time.Minute), roll)
	}
	c := map[string]string{
		"cleanup.policy":         "delete",
		"retention.ms":           span(t.Keep),
		"retention.bytes":        "-1",
		"segment.bytes":          strconv.FormatInt(segment, 10),
		"message.timestamp.type": "LogAppendTime",
	}
	if t.DropOldest && t.MaxBytes > 0 {
		c["retention.bytes"] = strconv.FormatInt(max(each, 1), 10)
	}
	if t.Sync {
		c["flush.messages"] = "1"
	}
	if t.Kind == driver.Latest {
		roll = min(roll, time.Hour)
		c["cleanup.policy"] = "compact"
		c["delete.retention.ms"] = span(removalLag)
		c["min.cleanable.dirty.ratio"] = "0.3"
		if t.Keep > 0 {
			c["cleanup.policy"] = "compact,delete"
			lag := t.Keep
			if t.History > 0 {
				lag = min(lag, historyLag)
			}
			c["min.compaction.lag.ms"] = span(lag)
		}
	}
	c["segment.ms"] = span(roll)
	return c
}

// reconcile compares a topic that is there with what is wanted: differences that break the contract are an error, others
// are listed as settings. entry is what was said about it when it was made, nil when nothing was.
func reconcile(t *topic, entry *driver.Topic, have kept, want map[string]string) ([]string, error) {
	wanted, found, kind := t.parts, have.partitions, t.Kind
	if entry != nil {
		kind = entry.Kind
	}
	if t.Kind == driver.Work && wanted == found {
		// Kafka was given more partitions than were asked for: those count that were.
		if wanted = t.Partitions; entry != nil {
			found = entry.Partitions
		} else {
			found = wanted
		}
	}
	var breaks []string
	if wanted != found || kind != t.Kind {
		breaks = append(breaks, fmt.Sprintf("wanted %s, found %s (stop every Kemi that uses it and remove the topic with all it holds, for one that runs makes it again; or give this Kemi another prefix)", say(t.Kind, wanted), say(kind, found)))
	}
	policy := policies(have.configs["cleanup.policy"])
	if !slices.Equal(policy, policies(want["cleanup.policy"])) {
		breaks = append(breaks, fmt.Sprintf("wanted cleanup.policy=%s, found cleanup.policy=%s (set it with kafka-configs.sh --alter)", want["cleanup.policy"], strings.Join(policy, ",")))
	}
	flush, ok := have.configs["flush.messages"]
	if ok && t.Sync && flush != "1" {
		breaks = append(breaks, fmt.Sprintf("wanted durability power, found flush.messages=%s (set flush.messages=1 with kafka-configs.sh --alter, or configure durability process and rely on the replicas)", flush))
	}
	var differences []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if value, ok := have.configs[name]; ok && name != "cleanup.policy" && name != "flush.messages" && value != want[name] {
			differences = append(differences, name+"="+want[name])
		}
	}
	if have.maxBatch() < defaultBatch { // More is no matter.
		differences = append(differences, "max.message.bytes="+strconv.Itoa(defaultBatch))
	}
	if len(breaks) > 0 {
		if len(differences) > 0 {
			breaks = append(breaks, "it should have "+strings.Join(differences, ",")+" too")
		}
		return nil, driver.Differs(fmt.Errorf("kafka's topic %s: %s", t.name, strings.Join(breaks, "; ")))
	}
	return differences, nil
}

// policies are the words of a cleanup.policy, in order.
func policies(text string) []string {
	var out []string
	for _, word := range strings.Split(text, ",") {
		if word = strings.TrimSpace(word); word != "" {
			out = append(out, word)
		}
	}
	slices.Sort(out)
	return out
}

var kinds = map[driver.Kind]string{driver.Log: "log", driver.Latest: "latest", driver.Work: "work"}

// say describes what of a topic cannot be changed.
func say(k driver.Kind, partitions int) string {
	return fmt.Sprintf("kind %s with %d partitions", kinds[k], partitions)
}
