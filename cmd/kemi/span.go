package main

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// whenForms are the ways people write a point in time by their own clock.
var whenForms = []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02"}

// when makes a time of the local clock, "10:00" or "2026-11-22 10:00", one that the server understands; everything else
// is left for the server to judge. A time without a day is the last one that is over.
func when(s string, now time.Time) string {
	s = strings.TrimSpace(s)
	for _, form := range whenForms {
		if t, err := time.ParseInLocation(form, s, now.Location()); err == nil {
			return t.Format(time.RFC3339)
		}
	}
	for _, form := range []string{"15:04:05", "15:04"} {
		t, err := time.ParseInLocation(form, s, now.Location())
		if err != nil {
			continue
		}
		at := time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, now.Location())
		if at.After(now) {
			at = at.AddDate(0, 0, -1)
		}
		return at.Format(time.RFC3339)
	}
	return s
}

// whenHelp says how times are written.
const whenHelp = `Times are how long ago (90s, 5m, 2h, 1d), by the clock here (10:00, "2026-11-22 10:00"), or RFC 3339
(2026-11-22T10:00:00Z). A position is PARTITION/POSITION, as -o json and kemi topics TOPIC show them.`

// queryOf makes a query of what is not empty.
func queryOf(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

// count is a flag that takes a number, and says so in words.
type count int

func (n *count) String() string { return strconv.Itoa(int(*n)) }
func (n *count) Type() string   { return "int" }

func (n *count) Set(s string) error {
	i, err := strconv.Atoi(s)
	if err != nil || i < 1 {
		return errors.New("write a number, 1 or more")
	}
	*n = count(i)
	return nil
}

// limitText writes a limit for a query: none is nothing.
func limitText(limit int) string {
	if limit == 0 {
		return ""
	}
	return strconv.Itoa(limit)
}

// completeTopics completes names of topics as the running Kemi has them.
func completeTopics(c *client) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c.topicNames(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
	}
}

// topicNames are the topics there are; none when nobody answers.
func (c *client) topicNames(ctx context.Context) []string {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var names []string
	if err := c.get(ctx, "/topics", queryOf("names", "true"), &names); err != nil {
		return nil
	}
	return names
}
