package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/cmd/kemi/api"
)

func newDead() *cobra.Command {
	cmd := &cobra.Command{
		Use: "dead", Short: "Dead letters: what could not be handled, and why", Args: noSubcommand, RunE: help,
		Long: `What a group cannot handle goes to dead.v1, with its own bytes and the reason, and the group goes on: a record that is
not Kemi's or of a newer version, one that a handler refused for good or too often, one that no broker would take. Letters stay
for 30 days. Look at them, mend the cause, then retry them, or drop them.`,
	}
	cmd.AddCommand(newDeadList(), newDeadShow(), newSettle("retry"), newSettle("drop"))
	return cmd
}

// letterFlags adds the flags that choose letters.
func letterFlags(cmd *cobra.Command, c *client, f *api.Settle) {
	cmd.Flags().StringVar(&f.Topic, "topic", "", "only those from this topic")
	cmd.Flags().StringVar(&f.Group, "group", "", "only those of this group; publisher is what could not be stored")
	cmd.Flags().StringVar(&f.Reason, "reason", "", "only those whose reason has this text in it")
	cmd.Flags().StringVar(&f.Since, "since", "", "only those given up since: 2h (ago), 10:00, 2026-11-22T10:00:00Z")
	_ = cmd.RegisterFlagCompletionFunc("topic", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return c.topicNames(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
	}) // Fails only for flags that are not there.
}

func newDeadList() *cobra.Command {
	var c client
	var output string
	var f api.Settle
	limit := 100
	var done bool
	cmd := &cobra.Command{
		Use: "list", Short: "List dead letters, newest first", Args: cobra.NoArgs,
		Example: "  kemi dead list\n  kemi dead list --topic readings.v1 --since 2h\n  kemi dead list --reason 'newer version' -o json | jq '.letters[].id'",
	}
	outputFlag(cmd, &output)
	letterFlags(cmd, &c, &f)
	cmd.Flags().Var((*count)(&limit), "limit", "at most so many")
	cmd.Flags().BoolVar(&done, "done", false, "those that were retried or dropped, too")
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		q := queryOf("topic", f.Topic, "group", f.Group, "reason", f.Reason, "since", when(f.Since, time.Now()), "limit", strconv.Itoa(limit))
		if done {
			q.Set("done", "true")
		}
		var all api.Letters
		if err := c.get(cmd.Context(), "/dead", q, &all); err != nil {
			return err
		}
		if output == "json" {
			return printJSON(cmd.OutOrStdout(), all)
		}
		return printLetters(cmd.OutOrStdout(), &all, done)
	}
	return cmd
}

func printLetters(w io.Writer, all *api.Letters, withDone bool) error {
	header := []string{"ID", "AGE", "TOPIC", "GROUP", "KEY", "ATTEMPTS", "REASON"}
	if withDone {
		header = append(header, "DONE")
	}
	rows := make([][]string, 0, len(all.Letters))
	for i := range all.Letters {
		l := &all.Letters[i]
		row := []string{strconv.FormatInt(l.ID, 10), ago(l.At), l.Topic, or(l.Group, "-"), or(short(l.Key, 40), "-"), strconv.Itoa(l.Attempts), short(l.Reason, 160)}
		if withDone && l.Done != nil {
			row = append(row, l.Done.How+" "+ago(l.Done.At)+" ago "+l.Done.By)
		} else if withDone {
			row = append(row, "no")
		}
		rows = append(rows, row)
	}
	if err := printTable(w, header, rows); err != nil {
		return err
	}
	if more := all.Total - len(all.Letters); more > 0 {
		_, err := fmt.Fprintf(w, "and %d older: see --limit\n", more)
		return err
	}
	return nil
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// short cuts a text to n characters.
func short(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
