# fish completion for {{.Name}}, made by "{{.Name}} completion fish"

{{$name := .Name -}}
{{define "option"}}{{range .Names}} {{if short .}}-s{{else}}-l{{end}} {{trim .}}{{end -}}
{{if .Words}} -x -a '{{join .Words " "}}'{{else if .File}} -r -F{{else if .Value}} -x{{end}} -d '{{quote .Plain}}'{{end -}}
set -l commands{{range .Commands}} {{.Name}}{{end}}
complete -c {{.Name}} -f
{{range .Commands -}}
complete -c {{$name}} -n "not __fish_seen_subcommand_from $commands" -a {{.Name}} -d '{{quote .Usage}}'
{{end -}}
{{range .Options -}}
complete -c {{$name}} -n "not __fish_seen_subcommand_from $commands"{{template "option" .}}
{{end -}}
{{range .Commands}}{{$command := .Name -}}
complete -c {{$name}} -n "__fish_seen_subcommand_from {{$command}}" -s h -l help -d 'show help'
{{with .Words -}}
complete -c {{$name}} -n "__fish_seen_subcommand_from {{$command}}" -a '{{join . " "}}'
{{end -}}
{{if .File -}}
complete -c {{$name}} -n "__fish_seen_subcommand_from {{$command}}" -F
{{end -}}
{{if .Program -}}
complete -c {{$name}} -n "__fish_seen_subcommand_from {{$command}}" -F -a '(__fish_complete_command)'
{{end -}}
{{range .Options -}}
complete -c {{$name}} -n "__fish_seen_subcommand_from {{$command}}"{{template "option" .}}
{{end -}}
{{end -}}
