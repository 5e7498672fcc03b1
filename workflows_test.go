package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The workflows use each action at a commit, with its version beside it, take no permission by
// default, and build with the image's version of Go.
func TestWorkflows(t *testing.T) {
	files, err := filepath.Glob(".github/workflows/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("got %v, %v", files, err)
	}
	dockerfile, err := os.ReadFile("packaging/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	image := regexp.MustCompile(`golang:([0-9.]+) AS build`).FindSubmatch(dockerfile)
	if image == nil {
		t.Fatal("packaging/Dockerfile names no version of Go")
	}
	uses := regexp.MustCompile(`^\s*(?:- )?uses:\s*(.*)$`)
	pinned := regexp.MustCompile(`^[a-z-]+/[a-z-]+@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+$`)
	version := regexp.MustCompile(`go-version: (\S+)`)
	commits := make(map[string]string) // of each action
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(content), "\n")
		for i, line := range lines {
			if match := uses.FindStringSubmatch(line); match != nil {
				action, commit, _ := strings.Cut(match[1], "@")
				if !pinned.MatchString(match[1]) || commits[action] != "" && commits[action] != commit {
					t.Errorf("%s:%d: %s is not one commit with its version", file, i+1, match[1])
				}
				commits[action] = commit
			}
			if match := version.FindStringSubmatch(line); match != nil && match[1] != string(image[1]) {
				t.Errorf("%s:%d: Go %s, but the image is built with %s", file, i+1, match[1], image[1])
			}
		}
		if !slices.Contains(lines, "permissions: {}") {
			t.Errorf("%s does not begin with permissions: {}", file)
		}
	}
}

// The job that runs the tests, and so what they download, neither builds nor publishes a release,
// and the jobs that publish wait for it.
func TestReleaseIsBuiltApart(t *testing.T) {
	content, err := os.ReadFile(".github/workflows/release.yml")
	if err != nil {
		t.Fatal(err)
	}
	_, jobs, _ := strings.Cut(string(content), "\njobs:\n")
	begins := regexp.MustCompile(`(?m)^  [a-z]+:$`).FindAllStringIndex(jobs, -1)
	tests, publishing := 0, 0
	for i, begin := range begins {
		end := len(jobs)
		if i+1 < len(begins) {
			end = begins[i+1][0]
		}
		job := jobs[begin[0]:end]
		if strings.Contains(job, ".ci/run") {
			tests++
			if regexp.MustCompile(`packaging/|artifact|: write`).MatchString(job) || !strings.HasPrefix(job, "  test:\n") {
				t.Errorf("the job that runs the tests does more:\n%s", job)
			}
		}
		if strings.Contains(job, ": write") {
			publishing++
			if !strings.Contains(job, "needs: [test, build]\n") {
				t.Errorf("a job publishes without waiting for the others:\n%s", job)
			}
		}
	}
	if tests != 1 || publishing != 2 {
		t.Errorf("got %d jobs that test and %d that publish, want 1 and 2", tests, publishing)
	}
}
