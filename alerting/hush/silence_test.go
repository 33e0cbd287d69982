package hush

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/eventrecorder"
	amsilence "github.com/prometheus/alertmanager/silence"
	pb "github.com/prometheus/alertmanager/silence/silencepb"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
)

// theirSilence is a silence as Alertmanager keeps it.
func theirSilence(s *event.Silence) *pb.Silence {
	set := &pb.MatcherSet{}
	for _, m := range s.Matchers {
		kind := pb.Matcher_EQUAL
		switch {
		case m.Regex && m.Negative:
			kind = pb.Matcher_NOT_REGEXP
		case m.Regex:
			kind = pb.Matcher_REGEXP
		case m.Negative:
			kind = pb.Matcher_NOT_EQUAL
		}
		set.Matchers = append(set.Matchers, &pb.Matcher{Type: kind, Name: m.Name, Pattern: m.Value})
	}
	return &pb.Silence{
		MatcherSets: []*pb.MatcherSet{set}, StartsAt: timestamppb.New(s.StartsAt), EndsAt: timestamppb.New(s.EndsAt),
		CreatedBy: s.By, Comment: s.Comment,
	}
}

func TestSilencesAreTakenAndHoldAsAlertmanagersDo(t *testing.T) {
	now := time.Now() // Theirs reads the clock; every time below is half an hour away from it.
	matchers := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) event.Matcher {
		return event.Matcher{
			Name: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name"), Regex: rapid.Bool().Draw(t, "regex"), Negative: rapid.Bool().Draw(t, "negative"),
			Value: rapid.SampledFrom([]string{"", "x", "x", "y", "x|y", "x*", ".+", ".*", "(x", "^(x|y)$", "x)|(y", "[", "|"}).Draw(t, "value"),
		}
	}), 0, 3)
	alerts := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) event.Labels {
		value := rapid.SampledFrom([]string{"", "x", "y", "xx"})
		return labelsOf("a", value.Draw(t, "a"), "b", value.Draw(t, "b"), "c", value.Draw(t, "c"))
	}), 1, 8)
	rapid.Check(t, func(t *rapid.T) {
		their, err := amsilence.New(amsilence.Options{Metrics: prometheus.NewRegistry(), Retention: time.Hour, EventRecorder: eventrecorder.NopRecorder()})
		if err != nil {
			t.Fatal(err)
		}
		s, problems := New(Config{})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		for i := range rapid.IntRange(1, 6).Draw(t, "silences") {
			one := &event.Silence{ID: fmt.Sprint(i), Kind: event.PlainSilence, Matchers: matchers.Draw(t, "matchers"), By: "jo", Comment: "because"}
			one.StartsAt = now.Add(time.Duration(rapid.SampledFrom([]int{-90, -30, 30}).Draw(t, "starts")) * time.Minute)
			one.EndsAt = now.Add(time.Duration(rapid.SampledFrom([]int{30, 60, 90}).Draw(t, "ends")) * time.Minute)
			copied := theirSilence(one)
			theirErr := their.Set(context.Background(), copied)
			if one.EndsAt.Equal(one.StartsAt) {
				continue // Theirs takes it in here and refuses it in the API.
			}
			if err := Check(one, now); (err == nil) != (theirErr == nil) {
				t.Fatalf("%v: %v, theirs %v", one.Matchers, err, theirErr)
			}
			err := s.Put(one)
			if (err == nil) != (theirErr == nil) {
				t.Fatalf("%v: %v, theirs %v", one.Matchers, err, theirErr)
			}
			if err != nil {
				continue
			}
			if rapid.IntRange(0, 3).Draw(t, "expire") == 0 {
				if err := their.Expire(context.Background(), copied.Id); err != nil {
					t.Fatal(err)
				}
				one = Expire(one, now)
				if err := s.Put(one); err != nil {
					t.Fatal(err)
				}
			}
			if state, _ := StateOf(one, now.Add(time.Second)); string(state) != string(amsilence.CurrentState(one.StartsAt, one.EndsAt)) {
				t.Fatalf("%s to %s is %s", one.StartsAt, one.EndsAt, state)
			}
		}
		silencer := amsilence.NewSilencer(their, promslog.NewNopLogger(), eventrecorder.NopRecorder())
		for _, of := range alerts.Draw(t, "alerts") {
			got := len(s.Why(Subject{Labels: of}, now.Add(time.Second))) > 0
			if want := silencer.Mutes(context.Background(), labelSet(of)); got != want {
				t.Fatalf("%s: %v, theirs %v", of, got, want)
			}
		}
	})
}
