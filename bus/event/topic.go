package event

import (
	"fmt"
	"strings"
	"time"
)

// Kind is how a topic is consumed.
type Kind int

// The kinds of topic.
const (
	// Log is partitioned, ordered per route and read by groups with one owner per partition.
	Log Kind = iota
	// Latest is a Log that also keeps the newest record of each key, readable as a snapshot.
	Latest
	// Work is shared: any member may take any record and acknowledges it by itself.
	Work
)

// Durability says what an acknowledged record survives.
type Durability int

// The durabilities.
const (
	// Process survives kill -9 of every process.
	Process Durability = iota
	// Power survives loss of power too: it is on the disk before Publish returns.
	Power
)

// Topic is where one word is published and how the bus keeps it.
type Topic struct {
	// Name ends in the version of the word; an incompatible word is a new topic.
	Name string
	// Word is the event's type as CloudEvents says it.
	Word string
	Kind Kind
	// Partitions is how many owners a group can have at most.
	Partitions int
	// Keep is how long records stay; 0 is for ever.
	Keep time.Duration
	// MaxBytes bounds the topic on disk; when it is full publishing is refused, never dropped.
	// A topic whose records may be forgotten early says so with DropOldest.
	MaxBytes   int64
	DropOldest bool
	// Bulk topics wait first when the disk gets short, so that alerts and pages have a reserve.
	Bulk       bool
	Durability Durability
	// ContentType of the records.
	ContentType string
	// Compress says that large records are compressed with s2 on the wire.
	Compress bool
	// Shared says that nobody changes what was published or decoded, so that all readers in a process can have the same.
	Shared bool
}

// Class is the topic's name without the zone: all topics of jobs are of one class.
func (t Topic) Class() string {
	if strings.HasPrefix(t.Name, topicJobs.Name+".") {
		return topicJobs.Name
	}
	return t.Name
}

const (
	typeJSON     = "application/cloudevents+json"
	typeProtobuf = "application/protobuf"
	day          = 24 * time.Hour
	mib          = 1 << 20
)

// The topics, one line each. Topics that share a route (domain) have equally many partitions, so that the owner
// of a partition finds everything about its domains there.
var (
	topicTargets   = Topic{Name: "targets.v1", Word: "dev.kemi.target.v1", Kind: Latest, Partitions: 4, MaxBytes: 512 * mib, Durability: Power, ContentType: typeJSON}
	topicJobs      = Topic{Name: "jobs.v1", Word: "dev.kemi.job.v1", Kind: Work, Partitions: 8, Keep: time.Hour, MaxBytes: 512 * mib, DropOldest: true, Bulk: true, ContentType: typeProtobuf}
	topicReadings  = Topic{Name: "readings.v1", Word: "dev.kemi.reading.v1", Kind: Log, Partitions: 8, Keep: 6 * time.Hour, MaxBytes: 4096 * mib, DropOldest: true, Bulk: true, ContentType: typeProtobuf, Compress: true}
	topicFindings  = Topic{Name: "findings.v1", Word: "dev.kemi.finding.v1", Kind: Log, Partitions: 4, Keep: 7 * day, MaxBytes: 512 * mib, DropOldest: true, ContentType: typeJSON}
	topicAlerts    = Topic{Name: "alerts.v1", Word: "dev.kemi.alert.v1", Kind: Latest, Partitions: 4, Keep: 90 * day, MaxBytes: 1024 * mib, Durability: Power, ContentType: typeJSON, Shared: true}
	topicIncidents = Topic{Name: "incidents.v1", Word: "dev.kemi.incident.v1", Kind: Latest, Partitions: 4, Keep: 90 * day, MaxBytes: 512 * mib, Durability: Power, ContentType: typeJSON}
	topicPages     = Topic{Name: "pages.v1", Word: "dev.kemi.page.v1", Kind: Latest, Partitions: 4, Keep: 90 * day, MaxBytes: 512 * mib, Durability: Power, ContentType: typeJSON}
	topicCommands  = Topic{Name: "commands.v1", Word: "dev.kemi.command.v1", Kind: Log, Partitions: 1, Keep: 90 * day, MaxBytes: 128 * mib, Durability: Power, ContentType: typeJSON}
	topicSilences  = Topic{Name: "silences.v1", Word: "dev.kemi.silence.v1", Kind: Latest, Partitions: 1, Keep: 400 * day, MaxBytes: 64 * mib, Durability: Power, ContentType: typeJSON}
	topicOverrides = Topic{Name: "overrides.v1", Word: "dev.kemi.override.v1", Kind: Latest, Partitions: 1, Keep: 400 * day, MaxBytes: 64 * mib, Durability: Power, ContentType: typeJSON}
)

// DefaultZone is the zone of targets that name none.
const DefaultZone = "default"

// JobsTopic is the topic of one zone's jobs: pollers take jobs of the zones they can reach.
func JobsTopic(zone string) Topic {
	if zone == "" {
		zone = DefaultZone
	}
	t := topicJobs
	t.Name += "." + zone
	return t
}

// Topics lists the topic of every word, jobs in the given zones.
func Topics(zones ...string) []Topic {
	all := []Topic{
		topicTargets, topicReadings, topicFindings, topicAlerts, topicIncidents, topicPages, topicCommands, topicSilences, topicOverrides,
	}
	if len(zones) == 0 {
		zones = []string{DefaultZone}
	}
	for _, z := range zones {
		all = append(all, JobsTopic(z))
	}
	return all
}

// Parse decodes a record of the named topic into its word.
func Parse(topic string, data []byte) (Event, error) {
	word := func() interface {
		Event
		Decode([]byte) error
	} {
		switch {
		case topic == topicTargets.Name:
			return new(Target)
		case topic == topicReadings.Name:
			return new(Reading)
		case topic == topicFindings.Name:
			return new(Finding)
		case topic == topicAlerts.Name:
			return new(Alert)
		case topic == topicIncidents.Name:
			return new(Incident)
		case topic == topicPages.Name:
			return new(Page)
		case topic == topicCommands.Name:
			return new(Command)
		case topic == topicSilences.Name:
			return new(Silence)
		case topic == topicOverrides.Name:
			return new(Override)
		case strings.HasPrefix(topic, topicJobs.Name+"."):
			return new(Job)
		}
		return nil
	}()
	if word == nil {
		return nil, fmt.Errorf("topic %s carries no word of Kemi", topic)
	}
	if err := word.Decode(data); err != nil {
		return nil, err
	}
	return word, nil
}
