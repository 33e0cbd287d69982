package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/internal/line"
)

// outputFlag adds -o; other values than those it completes are usage errors.
func outputFlag(cmd *cobra.Command, into *string) {
	cmd.Flags().StringVarP(into, "output", "o", "text", "text or json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)) // Fails only for flags that are not there.
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if *into != "text" && *into != "json" {
			return usageError{fmt.Errorf("-o %s: there is text and json", *into)}
		}
		return nil
	}
}

// noSubcommand and help are for commands that only have subcommands: a word that is none of them is wrong usage.
func noSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usageError{fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())}
}

func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

func printJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(plainJSON(b.Bytes()))
	return err
}

// printTable writes rows under a header, columns aligned. Names of columns are written as they are.
func printTable(w io.Writer, header []string, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(header, "\t"))
	for _, r := range rows {
		for i := range r {
			r[i] = plain(r[i])
		}
		fmt.Fprintln(tw, strings.Join(r, "\t"))
	}
	return tw.Flush()
}

// plain takes out of what a device or person wrote what a terminal acts on: control characters, and those that turn the
// direction of writing or hide text. Each becomes a space.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if line.Hidden(r) {
			return ' '
		}
		return r
	}, s)
}

// plainJSON writes in a JSON text as escapes what a terminal would act on: it says the same.
func plainJSON(data []byte) []byte {
	var out []byte
	done := 0
	for i, r := range string(data) {
		if r < 0x7f || !line.Hidden(r) {
			continue
		}
		out = append(out, data[done:i]...)
		for _, unit := range utf16.AppendRune(nil, r) {
			out = fmt.Appendf(out, "\\u%04x", unit)
		}
		done = i + utf8.RuneLen(r)
	}
	return append(out, data[done:]...)
}
