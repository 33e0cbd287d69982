package event

import (
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"kemi.dev/kemi/bus/event/eventpb"
)

// Cause says who wanted a job.
type Cause string

// The causes.
const (
	CauseSchedule Cause = "schedule"
	// CauseVerify is an immediate poll that alerting asks for before it believes something.
	CauseVerify Cause = "verify"
	CauseManual Cause = "manual"
)

// Job asks a poller to run one check of one target in one time slot.
type Job struct {
	// Target, Class, Address and Team are a snapshot of the target.
	Target, Class, Address, Team string
	// Labels are the target's effective labels.
	Labels Labels
	// Check, Kind, Profile, Credential and Spec are the check's; see Check.
	Check, Kind, Profile, Credential string
	Spec                             json.RawMessage
	// Slot is when the job is due; with target and check it is the job's identity.
	Slot time.Time
	// Deadline is when its result is worth nothing any more: a job past it is counted and dropped.
	Deadline time.Time
	// Interval is the time to the next slot; 0 for jobs that are not repeated.
	Interval time.Duration
	Cause    Cause
	// AskedBy tells jobs of one slot apart that were not scheduled: the identity of what asked.
	AskedBy string
	Zone    string
}

// JobFor makes the job of a target's check in a slot.
func JobFor(t *Target, c Check, slot, deadline time.Time, interval time.Duration, cause Cause, askedBy string) *Job {
	return &Job{
		Target: t.ID, Class: t.Class, Address: t.Address, Team: t.Team, Labels: t.EffectiveLabels(),
		Check: c.Name, Kind: c.Kind, Profile: c.Profile, Credential: c.Credential, Spec: c.Spec,
		Slot: slot, Deadline: deadline, Interval: interval, Cause: cause, AskedBy: askedBy,
		Zone: t.Zone(),
	}
}

// Topic implements Event: the jobs of the zone.
func (j *Job) Topic() Topic { return JobsTopic(j.Zone) }

// Identity implements Event: target, check, slot, and for jobs nobody scheduled, who asked.
func (j *Job) Identity() string {
	return ComputeID("job", j.Target, j.Check, strconv.FormatInt(millis(j.Slot), 10), string(j.Cause), j.AskedBy)
}

// Key implements Event.
func (j *Job) Key() string { return j.Target }

// Route implements Event.
func (j *Job) Route() string { return j.Target }

// Encode implements Event.
func (j *Job) Encode() ([]byte, error) {
	names, values := splitLabels(j.Labels)
	return proto.Marshal(&eventpb.Job{
		Id: j.Identity(), Target: j.Target, Class: j.Class, Address: j.Address, Team: j.Team,
		LabelNames: names, LabelValues: values, Check: j.Check, Kind: j.Kind, Profile: j.Profile,
		Credential: j.Credential, Spec: j.Spec, SlotUnixMs: millis(j.Slot), DeadlineUnixMs: millis(j.Deadline),
		IntervalMs: j.Interval.Milliseconds(), Cause: string(j.Cause), Zone: j.Zone,
		AskedBy: j.AskedBy,
	})
}

// Decode implements Word.
func (j *Job) Decode(data []byte) error {
	var p eventpb.Job
	if err := proto.Unmarshal(data, &p); err != nil {
		return malformed(topicJobs.Word, err)
	}
	labels, err := joinLabels(p.LabelNames, p.LabelValues)
	if err != nil {
		return malformed(topicJobs.Word, err)
	}
	if p.Target == "" || p.Check == "" || p.SlotUnixMs == 0 {
		return malformed(topicJobs.Word, errors.New("target, check or slot is missing"))
	}
	*j = Job{
		Target: p.Target, Class: p.Class, Address: p.Address, Team: p.Team, Labels: labels,
		Check: p.Check, Kind: p.Kind, Profile: p.Profile, Credential: p.Credential, Spec: p.Spec,
		Slot: fromMillis(p.SlotUnixMs), Deadline: fromMillis(p.DeadlineUnixMs),
		Interval: time.Duration(p.IntervalMs) * time.Millisecond, Cause: Cause(p.Cause), AskedBy: p.AskedBy,
		Zone: p.Zone,
	}
	return nil
}

func splitLabels(ls Labels) (names, values []string) {
	names, values = make([]string, len(ls)), make([]string, len(ls))
	for i, l := range ls {
		names[i], values[i] = l.Name, l.Value
	}
	return names, values
}

func joinLabels(names, values []string) (Labels, error) {
	if len(names) != len(values) {
		return nil, errors.New("label names and values differ in number")
	}
	ls := make(Labels, len(names))
	for i := range names {
		ls[i] = Label{names[i], values[i]}
	}
	return ls, nil
}
