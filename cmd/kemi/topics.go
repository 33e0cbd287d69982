package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/cmd/kemi/api"
)

func newTopics() *cobra.Command {
	var c client
	var output string
	cmd := &cobra.Command{
		Use: "topics [TOPIC]", Short: "What is on the bus, and how far who reads it is", Args: cobra.MaximumNArgs(1), ValidArgsFunction: completeTopics(&c),
		Long: `Lists the topics with what they hold and the group that is furthest behind; with TOPIC everything of one: its
partitions, and per group and partition the owner, the owner's epoch, where it is and how many records wait.

RECORDS and SIZE are what the broker keeps, OLDEST is how old the oldest of it is. At the LIMIT a topic forgets its oldest
records, or, marked with !, refuses new ones. LAG is how many records the group has not handled: it should be near zero and
not grow. An owner is one process; its epoch grows each time a partition goes to another. What /-/ready says beside, such as
that a process runs from another configuration, is below.`,
		Example: "  kemi topics\n  kemi topics readings.v1\n  kemi topics -o json | jq '.[] | {name, lag: [.groups[].lag] | max}'",
	}
	outputFlag(cmd, &output)
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			var one api.Topic
			if err := c.get(cmd.Context(), "/topics/"+url.PathEscape(args[0]), nil, &one); err != nil {
				return err
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), one)
			}
			return printTopic(cmd.OutOrStdout(), &one)
		}
		var all []api.Topic
		if err := c.get(cmd.Context(), "/topics", nil, &all); err != nil {
			return err
		}
		if output == "json" {
			return printJSON(cmd.OutOrStdout(), all)
		}
		if err := printTopics(cmd.OutOrStdout(), cmd.ErrOrStderr(), all); err != nil {
			return err
		}
		var status struct {
			Why string `json:"why"`
		}
		if c.get(cmd.Context(), "/status", nil, &status) == nil && status.Why != "" { // The table is there all the same.
			fmt.Fprintln(cmd.ErrOrStderr(), plain(status.Why))
		}
		return nil
	}
	return cmd
}

// printTopics writes a line a topic, and below why the broker said nothing of some.
func printTopics(out, errs io.Writer, all []api.Topic) error {
	rows := make([][]string, 0, len(all))
	for i := range all {
		t := &all[i]
		rows = append(rows, []string{
			t.Name, t.Kind, strconv.Itoa(t.Partitions), number(t.Records), size(t.Bytes), limit(t), ago(t.Oldest), furthest(t.Groups),
		})
	}
	if err := printTable(out, []string{"TOPIC", "KIND", "PARTITIONS", "RECORDS", "SIZE", "LIMIT", "OLDEST", "LAG"}, rows); err != nil {
		return err
	}
	for i := range all {
		if all[i].Error != "" {
			fmt.Fprintf(errs, "%s: %s\n", all[i].Name, plain(all[i].Error))
		}
	}
	return nil
}

// furthest names the group that is furthest behind.
func furthest(groups []api.Group) string {
	most := -1
	for i := range groups {
		if most < 0 || groups[i].Lag > groups[most].Lag {
			most = i
		}
	}
	switch {
	case most < 0:
		return "-"
	case groups[most].Lag == 0:
		return "0"
	}
	return fmt.Sprintf("%d %s", groups[most].Lag, groups[most].Name)
}

func printTopic(w io.Writer, t *api.Topic) error {
	keep := "for ever"
	if t.KeepSeconds > 0 {
		keep = span(t.KeepSeconds)
	}
	at := "publishing is refused"
	if t.DropsOldest {
		at = "the oldest go"
	}
	kind := map[string]string{"log": "a log", "latest": "keeps the newest of each key", "work": "shared work"}[t.Kind]
	fmt.Fprintf(w, "%s: %s, %s, partitions %d, durability %s, kept %s\n", t.Name, t.Word, kind, t.Partitions, t.Durability, keep)
	fmt.Fprintf(w, "%s records, %s of %s (then %s)\n\n", number(t.Records), size(t.Bytes), strings.TrimSuffix(limit(t), "!"), at)
	rows := make([][]string, 0, len(t.Parts))
	for _, p := range t.Parts {
		rows = append(rows, []string{
			strconv.Itoa(p.Partition), number(p.Records), strconv.FormatInt(p.First, 10), strconv.FormatInt(p.End, 10), ago(p.Oldest),
		})
	}
	if err := printTable(w, []string{"PARTITION", "RECORDS", "FIRST", "END", "OLDEST"}, rows); err != nil {
		return err
	}
	rows = nil
	for _, g := range t.Groups {
		for _, p := range g.Parts {
			partition, owner, epoch := strconv.Itoa(p.Partition), p.Owner, strconv.FormatUint(p.Epoch, 10)
			if owner == "" {
				owner = "nobody"
			}
			if t.Kind == "work" {
				owner, epoch = "anybody", "-"
				if p.Partition < 0 {
					partition = "all"
				}
			}
			rows = append(rows, []string{g.Name, partition, owner, epoch, strconv.FormatInt(p.Next, 10), strconv.FormatInt(p.Lag, 10)})
		}
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, "\nNo group reads it.")
		return err
	}
	fmt.Fprintln(w)
	return printTable(w, []string{"GROUP", "PARTITION", "OWNER", "EPOCH", "NEXT", "LAG"}, rows)
}

// limit writes how large a topic may be; ! says that it refuses then.
func limit(t *api.Topic) string {
	switch {
	case t.LimitBytes == 0:
		return "none"
	case t.DropsOldest:
		return size(t.LimitBytes)
	}
	return size(t.LimitBytes) + "!"
}

func number(n int64) string {
	if n < 0 {
		return "?"
	}
	return strconv.FormatInt(n, 10)
}

// size writes bytes for people.
func size(n int64) string {
	if n < 0 {
		return "?"
	}
	f, units := float64(n), []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for f >= 1024 && len(units) > 1 {
		f, units = f/1024, units[1:]
	}
	if units[0] == "B" || f == float64(int64(f)) {
		return fmt.Sprintf("%.0f %s", f, units[0])
	}
	return fmt.Sprintf("%.1f %s", f, units[0])
}

// span writes seconds as the largest whole unit.
func span(seconds float64) string {
	for _, u := range []struct {
		length float64
		name   string
	}{{86400, "d"}, {3600, "h"}, {60, "m"}} {
		if n := seconds / u.length; n >= 1 && n == float64(int64(n)) {
			return fmt.Sprintf("%.0f%s", n, u.name)
		}
	}
	return fmt.Sprintf("%gs", seconds)
}
