# ruby homebrew.rb FORMULA DIRECTORY: does with FORMULA what brew install, services and test do,
# in DIRECTORY, which has the source tarball. It knows only the part of Homebrew's language
# that the formula uses, and fails at any other.
require "digest"
require "fileutils"
require "open3"
require "pathname"
require "timeout"

ROOT = Pathname(ARGV[1])

def check(what, condition = true)
  condition ? puts("ok: #{what}") : abort("failed: #{what}")
end

module Utils
  def self.safe_popen_read(*command)
    out, status = Open3.capture2(*command.map(&:to_s))
    status.success? ? out : abort("failed: #{command.join(" ")}")
  end
end

class Pathname
  def install(file)
    mkpath
    FileUtils.cp(file, self)
  end
end

class Service
  attr_reader :called

  def initialize(formula)
    @formula = formula
    @called = {}
  end

  %i[run keep_alive log_path error_log_path].each { |name| define_method(name) { |value| @called[name] = value } }
  %i[opt_bin etc var].each { |name| define_method(name) { @formula.public_send(name) } }
end

class Formula
  class << self
    attr_reader :facts, :service_block, :test_block

    %i[desc homepage url sha256 license].each { |name| define_method(name) { |value| (@facts ||= {})[name] = value } }
    def head(url, branch:) = @facts[:head] = [url, branch]
    def depends_on(what) = (@facts[:depends] ||= []) << what
    def service(&block) = @service_block = block
    def test(&block) = @test_block = block
  end

  def name = "bip324-proxy"
  def prefix = ROOT/"cellar"
  def bin = prefix/"bin"
  def opt_bin = bin
  def man1 = prefix/"share/man/man1"
  def etc = ROOT/"etc"
  def var = ROOT/"var"
  def pkgetc = etc/name
  def buildpath = ROOT/"bip324-proxy-#{version}"
  def version = self.class.facts[:url][/v(\d+\.\d+\.\d+)\.tar/, 1]

  def system(*command)
    Kernel.system(*command.map(&:to_s)) || abort("failed: #{command.join(" ")}")
  end

  def std_go_args(ldflags:) = ["-trimpath", "-o=#{bin/name}", "-ldflags=#{ldflags}"]

  def generate_completions_from_executable(program, *args)
    { bash: "share/bash-completion/completions/#{name}", zsh: "share/zsh/site-functions/_#{name}",
      fish: "share/fish/vendor_completions.d/#{name}.fish" }.each do |shell, file|
      (prefix/file).dirname.mkpath
      (prefix/file).write Utils.safe_popen_read(program, *args, shell)
    end
  end

  def shell_output(command) = `#{command}`.tap { $?.success? || abort("failed: #{command}") }
  def assert_match(pattern, text) = check("the output has #{pattern.inspect}", text.include?(pattern))
end

load ARGV[0]
formula = Bip324Proxy.new
facts = Bip324Proxy.facts
tarball = ROOT/"v#{formula.version}.tar.gz"
check "the checksum is that of the tarball", Digest::SHA256.file(tarball).hexdigest == facts[:sha256]
check "desc is at most 80 characters, without the name", facts[:desc].size <= 80 && !facts[:desc].match?(/\A(an?|the) |bip324-proxy/i)
check "Go is needed to build only", facts[:depends] == [{ "go" => :build }]

system("tar", "-xzf", tarball.to_s, "-C", ROOT.to_s) || abort("failed: tar")
formula.bin.mkpath
formula.man1.mkpath
Dir.chdir(formula.buildpath) { formula.install }
check "the manual page", (formula.man1/"bip324-proxy.1").read.start_with?(".TH", ".\\\"")
check "three completions", formula.prefix.glob("share/{bash,zsh,fish}*/**/*").count { |f| f.file? && f.size.positive? } == 3
check "caveats", formula.caveats.include?("127.0.0.1:1324")

service = Service.new(formula)
service.instance_eval(&Bip324Proxy.service_block)
(formula.var/"log").mkpath
# Ports of its own, and otherwise as brew services starts it.
variables = { "BIP324_PROXY_LISTEN" => "unix:#{ROOT}/socks", "BIP324_PROXY_STATUS" => "unix:#{ROOT}/status" }
pid = spawn(variables, *service.called[:run].map(&:to_s), %i[out err] => [service.called[:error_log_path].to_s, "a"])
begin
  Timeout.timeout(60) { sleep 0.1 until (ROOT/"status").socket? }
  status = formula.shell_output("BIP324_PROXY_STATUS=unix:#{ROOT}/status #{formula.bin}/bip324-proxy status")
  check "the service runs: #{status.lines.first}", !status.empty?
ensure
  Process.kill("TERM", pid)
  Process.wait(pid)
end
check "the service ended without an error", $?.success?
check "its log is in var/log", (formula.var/"log/bip324-proxy.log").size.positive?
check "its known peers are in var/lib", (formula.var/"lib/bip324-proxy/peers").file?
formula.instance_eval(&Bip324Proxy.test_block)
