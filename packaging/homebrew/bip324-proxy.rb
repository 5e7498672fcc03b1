class Bip324Proxy < Formula
  desc "SOCKS5 proxy that gives any Bitcoin program encrypted (BIP324) connections"
  homepage "@HOMEPAGE@"
  url "@URL@"
  sha256 "@SHA256@"
  license "MIT"
  head "@HOMEPAGE@.git", branch: "main"

  depends_on "go" => :build

  def install
    ENV["CGO_ENABLED"] = "0"
    system "go", "build", *std_go_args(ldflags: "-s -w -X bip324proxy/command.version=#{version}")
    generate_completions_from_executable(bin/"bip324-proxy", "completion")
    (man1/"bip324-proxy.1").write Utils.safe_popen_read(bin/"bip324-proxy", "man")

    # An upgrade keeps the user's file.
    (buildpath/"config.toml").write <<~TOML
      # Settings of the service, see bip324-proxy(1). To apply a change:
      # brew services restart bip324-proxy

      known-peers = "#{var}/lib/bip324-proxy/peers"
      #status = "127.0.0.1:1325"
      #upstream = "socks5://127.0.0.1:9050"
    TOML
    pkgetc.install "config.toml"
    (var/"lib/bip324-proxy").mkpath
  end

  def caveats
    <<~TEXT
      Set the SOCKS5 proxy of your Bitcoin program to 127.0.0.1:1324;
      bip324-proxy setup prints what to write into which file.
      The settings of the service are in #{pkgetc}/config.toml
    TEXT
  end

  service do
    run [opt_bin/"bip324-proxy", "--config", etc/"bip324-proxy/config.toml"]
    keep_alive true
    log_path var/"log/bip324-proxy.log"
    error_log_path var/"log/bip324-proxy.log"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/bip324-proxy --version")
    assert_match "Session id", shell_output("#{bin}/bip324-proxy demo")
  end
end
