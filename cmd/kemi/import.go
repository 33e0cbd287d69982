package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/cmd/kemi/importer"
)

func newImport() *cobra.Command {
	var to string
	var secrets, force bool
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Turn an Alertmanager configuration into Kemi's", Args: cobra.ExactArgs(1),
		Long: `Reads an Alertmanager configuration and writes what it says as a part of kemi.yaml: receivers, route, inhibit_rules
and time_intervals. What cannot be brought over as it was is named on standard error and at the top of the
result, with its path and what to do. What Alertmanager would refuse is refused.

A receiver with several integrations becomes several, NAME-KIND, and routes to it become routes to all of them. Routes
that no alert can reach are left out.

Secrets are not in the result. With -o FILE each is written to a file of its own in the folder secrets beside it, which
only you may read, and the result names the files; without -o you are told which files to write. --secrets leaves them
in the result.`,
		Example: "  kemi import alertmanager.yml                 # look at it\n  kemi import alertmanager.yml -o kemi.yaml && kemi check -c kemi.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			options := importer.Options{File: args[0], Secrets: secrets}
			if to != "-" {
				options.OutDir = filepath.Dir(to)
			}
			result, err := importer.Alertmanager(text, options)
			if err != nil {
				return err
			}
			if to == "-" {
				_, err = cmd.OutOrStdout().Write(result.Config)
			} else {
				err = writeImport(to, result, secrets, force)
			}
			if err != nil {
				return err
			}
			return sayImport(cmd.ErrOrStderr(), to, result)
		},
	}
	cmd.Flags().StringVarP(&to, "out", "o", "-", "file to write, - is standard output")
	cmd.Flags().BoolVar(&secrets, "secrets", false, "leave secrets in the result, in clear")
	cmd.Flags().BoolVar(&force, "force", false, "replace files that are there")
	return cmd
}

// writeImport writes the secrets first: a configuration that is there names files that are there. With clear they are in
// the configuration itself.
func writeImport(to string, r *importer.Result, clear, force bool) error {
	dir := filepath.Dir(to)
	type file struct {
		path string
		text []byte
		mode fs.FileMode
	}
	var files []file
	for _, s := range r.Secrets {
		if !s.Text.IsZero() {
			files = append(files, file{filepath.Join(dir, s.Path), []byte(s.Text.Reveal()), 0o600})
		}
	}
	mode := fs.FileMode(0o644)
	if clear {
		mode = 0o600
	}
	files = append(files, file{to, r.Config, mode})
	if !force {
		for _, f := range files {
			switch there, err := os.ReadFile(f.path); {
			case errors.Is(err, fs.ErrNotExist), err == nil && bytes.Equal(there, f.text):
			case err != nil:
				return err
			default:
				return fmt.Errorf("%s is there already: name another file with -o, or replace it with --force", f.path)
			}
		}
	}
	for _, f := range files {
		if f.path != to {
			if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
				return err
			}
		}
		if err := os.WriteFile(f.path, f.text, f.mode); err != nil {
			return err
		}
		if err := os.Chmod(f.path, f.mode); err != nil { // A file that was there keeps its mode otherwise.
			return err
		}
	}
	return nil
}

// sayImport says what a person has to know or do.
func sayImport(w io.Writer, to string, r *importer.Result) error {
	var b bytes.Buffer
	for _, s := range r.Secrets {
		switch {
		case s.Text.IsZero(): // A note says so.
		case to == "-":
			fmt.Fprintf(&b, "write the secret of %s into %s\n", s.From, s.Path)
		default:
			fmt.Fprintf(&b, "wrote %s, the secret of %s\n", filepath.Join(filepath.Dir(to), s.Path), s.From)
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintln(&b, n)
	}
	if to != "-" {
		fmt.Fprintf(&b, "wrote %s; next: kemi check -c %s\n", to, to)
	}
	_, err := w.Write(b.Bytes())
	return err
}
