package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
)

// Topic is what a topic is and holds, and who reads it.
type Topic struct {
	Name string `json:"name"`
	// Word is the type of the events.
	Word string `json:"word"`
	// Kind is log, latest or work.
	Kind       string `json:"kind"`
	Partitions int    `json:"partitions"`
	// Durability is process or power.
	Durability  string  `json:"durability"`
	KeepSeconds float64 `json:"keep_seconds,omitempty"`
	// Records and Bytes are -1 when the broker does not say; LimitBytes is 0 for none.
	Records    int64 `json:"records"`
	Bytes      int64 `json:"bytes"`
	LimitBytes int64 `json:"limit_bytes,omitempty"`
	// DropsOldest says what happens at the limit: the oldest go, else publishing is refused.
	DropsOldest bool        `json:"drops_oldest,omitempty"`
	Oldest      time.Time   `json:"oldest,omitzero"`
	Groups      []Group     `json:"groups"`
	Parts       []Partition `json:"parts,omitempty"`
	// Error says why the broker did not answer; then there is nothing of what it knows.
	Error string `json:"error,omitempty"`
}

// Partition is what one partition of a topic holds.
type Partition struct {
	Partition int `json:"partition"`
	// First is the position of the oldest record, End the one after the newest.
	First   int64     `json:"first"`
	End     int64     `json:"end"`
	Records int64     `json:"records"`
	Oldest  time.Time `json:"oldest,omitzero"`
}

// Group is how far a group is.
type Group struct {
	Name string `json:"name"`
	// Lag counts the records that wait in all partitions.
	Lag   int64   `json:"lag"`
	Parts []Owned `json:"parts"`
}

// Owned is how far a group is in one partition; of shared work in all of them, as partition -1.
type Owned struct {
	Partition int    `json:"partition"`
	Owner     string `json:"owner,omitempty"`
	Epoch     uint64 `json:"epoch,omitempty"`
	// Next is the position after the last that was handled.
	Next int64 `json:"next"`
	Lag  int64 `json:"lag"`
}

var (
	kindNames       = map[event.Kind]string{event.Log: "log", event.Latest: "latest", event.Work: "work"}
	durabilityNames = map[event.Durability]string{event.Process: "process", event.Power: "power"}
)

// shown puts together what is known of a topic and what the broker says, if it does.
func shown(t event.Topic, info driver.Info, err error) Topic {
	s := Topic{
		Name: t.Name, Word: t.Word, Kind: kindNames[t.Kind], Durability: durabilityNames[t.Durability], Partitions: t.Partitions,
		KeepSeconds: t.Keep.Seconds(), LimitBytes: t.MaxBytes, DropsOldest: t.DropOldest, Records: -1, Bytes: -1, Groups: []Group{},
	}
	if err != nil {
		s.Error = err.Error()
		return s
	}
	s.Bytes, s.LimitBytes, s.DropsOldest = info.Bytes, info.Topic.MaxBytes, info.Topic.DropOldest
	if info.Topic.Partitions > 0 {
		s.Partitions = info.Topic.Partitions
	}
	if s.Records = 0; len(info.Partitions) == 0 {
		s.Records = -1
	}
	for _, p := range info.Partitions {
		s.Parts = append(s.Parts, Partition{Partition: p.Partition, First: p.First, End: p.End, Records: p.Records, Oldest: p.Oldest})
		if p.Records < 0 || s.Records < 0 {
			s.Records = -1
		} else {
			s.Records += p.Records
		}
		if !p.Oldest.IsZero() && (s.Oldest.IsZero() || p.Oldest.Before(s.Oldest)) {
			s.Oldest = p.Oldest
		}
	}
	for _, g := range info.Groups {
		one := Group{Name: g.Name, Parts: []Owned{}}
		for _, p := range g.Partitions {
			one.Lag += p.Lag
			one.Parts = append(one.Parts, Owned{Partition: p.Partition, Owner: p.Owner, Epoch: p.Epoch, Next: p.Next, Lag: p.Lag})
		}
		slices.SortFunc(one.Parts, func(a, b Owned) int { return cmp.Compare(a.Partition, b.Partition) })
		s.Groups = append(s.Groups, one)
	}
	slices.SortFunc(s.Groups, func(a, b Group) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Parts, func(a, b Partition) int { return cmp.Compare(a.Partition, b.Partition) })
	return s
}

// patience is how long the broker may take to say what a topic holds; asking is how many topics are asked for at once.
const (
	patience = 10 * time.Second
	asking   = 4
)

// answers refuses when the bus is known to be away: whoever asks need not wait to hear it.
func (a *api) answers(w http.ResponseWriter) bool {
	if err := a.bus.Health(); err != nil {
		refuse(w, http.StatusServiceUnavailable, fmt.Errorf("the bus is away, try again when it is back: %w", err))
		return false
	}
	return true
}

// topics lists all topics; ?names=true only says what there is and asks nobody.
func (a *api) topics(w http.ResponseWriter, r *http.Request) {
	if !knows(w, r, "topics", "names") {
		return
	}
	all := a.bus.Topics()
	slices.SortFunc(all, func(a, b event.Topic) int { return cmp.Compare(a.Name, b.Name) })
	if r.URL.Query().Get("names") == "true" {
		names := make([]string, len(all))
		for i := range all {
			names[i] = all[i].Name
		}
		answer(w, http.StatusOK, names)
		return
	}
	if !a.answers(w) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	list := make([]Topic, len(all))
	turn := make(chan struct{}, asking)
	var asked sync.WaitGroup
	for i := range all {
		asked.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			info, err := a.bus.Inspect(ctx, all[i].Name)
			list[i] = shown(all[i], info, err)
			list[i].Parts = nil
		})
	}
	asked.Wait()
	answer(w, http.StatusOK, list)
}

// topic tells everything of one topic.
func (a *api) topic(w http.ResponseWriter, r *http.Request) {
	t, err := a.bus.Topic(r.PathValue("topic"))
	if err != nil {
		refuse(w, http.StatusNotFound, err)
		return
	}
	if !a.answers(w) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	info, err := a.bus.Inspect(ctx, t.Name)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	answer(w, http.StatusOK, shown(t, info, nil))
}
