package main

import (
	"reflect"

	"kemi.dev/kemi/bus/event"
)

// word is one kind of event, with what no code says: sentences about it.
type word struct {
	name    string // As in Go, and in the document.
	topic   event.Topic
	value   reflect.Type // Nil for what is not JSON.
	proto   string       // The message in event.proto, of what is protobuf.
	golden  string       // Its example, in bus/event/testdata/v1.
	room    string       // Who says it.
	says    string       // One sentence.
	key     string       // What the key is, and where it stands in the event; "computed" is nowhere.
	keyAt   string
	route   string // What keeps its order, and where it stands.
	routeAt string
}

// words lists what the topics carry, in the order in which a pipeline says it.
func words() []word {
	topics := map[string]event.Topic{}
	for _, t := range event.Topics("{zone}") {
		topics[t.Class()] = t
	}
	const (
		target = "The target's id."
		domain = "The domain (label `domain` of the target, `default` when it has none)."
	)
	return []word{
		{
			name: "Target", topic: topics["targets.v1"], value: reflect.TypeFor[event.Target](), golden: "target.json", room: "cmdb",
			says: "Something that exists and is watched became what it says here.", key: target, keyAt: "/data/id", route: target, routeAt: "/data/id",
		},
		{
			name: "Job", topic: topics["jobs.v1"], proto: "Job", golden: "job.pb", room: "scheduler",
			says: "A poller is asked to run one check of one target in one time slot. Pollers share these among them; who only wants to know what was found reads readings.",
			key:  target, keyAt: "target", route: target, routeAt: "target",
		},
		{
			name: "Reading", topic: topics["readings.v1"], proto: "Reading", golden: "reading.pb", room: "collector",
			says: "One job found this; failure is data.", key: target, keyAt: "target", route: target, routeAt: "target",
		},
		{
			name: "Finding", topic: topics["findings.v1"], value: reflect.TypeFor[event.Finding](), golden: "finding.json", room: "processors",
			says: "One rule's verdict on one series, said on change and refreshed while it fires.",
			key:  "Computed from rule and labels: the same series of the same rule has the same key. The record on the broker has it too; of `kemi:reachable`, which says who answers, it has the rule's name.", keyAt: "computed", route: domain, routeAt: "/data/domain",
		},
		{
			name: "Alert", topic: topics["alerts.v1"], value: reflect.TypeFor[event.Alert](), golden: "alert.json", room: "processors",
			says: "One problem made a transition: it fires, or it is resolved.", key: "The alert's id.", keyAt: "/data/id", route: domain, routeAt: "/data/domain",
		},
		{
			name: "Incident", topic: topics["incidents.v1"], value: reflect.TypeFor[event.Incident](), golden: "incident.json", room: "alerting",
			says: "One cause and everything it explains, in a new revision.", key: "The incident's id.", keyAt: "/data/id", route: domain, routeAt: "/data/domain",
		},
		{
			name: "Page", topic: topics["pages.v1"], value: reflect.TypeFor[event.Page](), golden: "page.json", room: "alerting",
			says: "One line of the ledger: who is told what, by which way, and what came of it.", key: "The page's id.", keyAt: "/data/id", route: domain, routeAt: "/data/domain",
		},
		{
			name: "Command", topic: topics["commands.v1"], value: reflect.TypeFor[event.Command](), golden: "command.json", room: "people",
			says: "People or programs ask Kemi for something. They say it to the HTTP API, which puts it here.",
			key:  "The command's subject.", keyAt: "/data/subject", route: "The command's subject.", routeAt: "/data/subject",
		},
		{
			name: "Silence", topic: topics["silences.v1"], value: reflect.TypeFor[event.Silence](), golden: "silence.json", room: "people",
			says: "Somebody holds pages back for a time: a silence, or a maintenance window.",
			key:  "The silence's id.", keyAt: "/data/id", route: "The silence's id.", routeAt: "/data/id",
		},
		{
			name: "Override", topic: topics["overrides.v1"], value: reflect.TypeFor[event.Override](), golden: "override.json", room: "people",
			says: "Somebody takes over from whoever a schedule has on call.",
			key:  "The override's id.", keyAt: "/data/id", route: "The override's id.", routeAt: "/data/id",
		},
	}
}
